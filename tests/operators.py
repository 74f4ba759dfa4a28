"""Other ways to take granules out of a cytoplasm, for testing only.

A granularity score must fall with suppression whichever operator removed the granules, or it has
learnt the trace of one filter. Neither operator here shares code with `granularity.suppress`: both
look at ranks of neighbouring values, where `suppress` takes a weighted Gaussian mean. Nothing
may be trained on what they make.
"""

import cv2
import numpy as np

from cellnet.granularity import default_sigma


def suppress_by_closing(image: np.ndarray, mask: np.ndarray, g: float) -> np.ndarray:
    """Fill what is darker than its surroundings and smaller than a granule's disc.

    A grey-value closing, then an opening (which takes the bright specks between granules), of each
    channel; a small Gaussian removes the flat facets that both leave.
    """
    disc = _disc(mask)
    flat = cv2.morphologyEx(_filled(image, mask), cv2.MORPH_CLOSE, disc)
    flat = cv2.morphologyEx(flat, cv2.MORPH_OPEN, disc)
    return _mixed(image, mask, cv2.GaussianBlur(flat, (0, 0), 1.5), g)


def suppress_by_median(image: np.ndarray, mask: np.ndarray, g: float) -> np.ndarray:
    """Take the median of a window several granules wide."""
    size = min(2 * round(1.5 * default_sigma(mask)) + 1, 255)
    return _mixed(image, mask, cv2.medianBlur(_filled(image, mask), size), g)


OPERATORS = {"closing": suppress_by_closing, "median": suppress_by_median}


def _disc(mask: np.ndarray) -> np.ndarray:
    size = 2 * max(round(0.7 * default_sigma(mask)), 2) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def _filled(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with what lies beside the cytoplasm painted over from the cytoplasm."""
    solid = mask.astype(np.uint8)
    reach = 2 * round(2 * default_sigma(mask)) + 1
    near = cv2.dilate(solid, np.ones((reach, reach), np.uint8))
    return cv2.inpaint(
        image, near - cv2.erode(solid, np.ones((3, 3), np.uint8)), 3, cv2.INPAINT_TELEA
    )


def _mixed(image: np.ndarray, mask: np.ndarray, base: np.ndarray, g: float) -> np.ndarray:
    weight = cv2.GaussianBlur(cv2.erode(mask.astype(np.float32), np.ones((3, 3))), (0, 0), 1.0)
    weight = (g * weight * mask)[..., None]
    return np.rint(image + weight * (base.astype(np.float32) - image)).astype(np.uint8)
