"""The plain way to judge a smear: a Keras script of twenty lines, as a user would write it.

Usage: plain_predict.py MODEL1.keras DYSPLASIANET.keras FOLDER [NEUTROPHILS]. The number of
neutrophils to score overrules what the network finds, so that both ways score as many cells when
they are timed.
"""

import json
import pathlib
import sys

import keras
import numpy as np

NEUTROPHIL = 6


def read(files, size):
    """Load and resize images one after another."""
    images = [
        keras.utils.img_to_array(
            keras.utils.load_img(file, target_size=(size, size), interpolation="bilinear")
        )
        for file in files
    ]
    return np.stack(images) / 255


model1 = keras.models.load_model(sys.argv[1])
dysplasianet = keras.models.load_model(sys.argv[2])
files = sorted(pathlib.Path(sys.argv[3]).glob("*.jpg"))
labels = model1.predict(read(files, 224), verbose=0).argmax(axis=1)
neutrophils = [file for file, label in zip(files, labels, strict=True) if label == NEUTROPHIL]
if len(sys.argv) > 4:
    neutrophils = files[: int(sys.argv[4])]
dysplastic = 0
if neutrophils:
    scores = dysplasianet.predict(read(neutrophils, 299), verbose=0)
    dysplastic = int((scores <= 0.979).sum())
print(json.dumps({"cells": len(files), "neutrophils": len(neutrophils), "dysplastic": dysplastic}))
