/** What the page and its workers say to each other. */

import type {
  ActivationMap,
  Engine,
  InputFile,
  ModelInfo,
  Reading,
  Role,
  Unreadable,
} from "./types";

/** What can be asked of a worker. */
export type Questions = {
  open: { readonly base: string; readonly only: Engine["name"] | null };
  read: { readonly files: readonly InputFile[] };
  score: { readonly file: InputFile };
  map: { readonly file: InputFile; readonly role: Role; readonly output: number };
};

export type Kind = keyof Questions;

/** A question to a worker; the answer carries the same number. */
export type Question = {
  [K in Kind]: { readonly id: number; readonly kind: K; readonly asked: Questions[K] };
}[Kind];

export type Opened = {
  readonly engine: Engine;
  /** How many images are best handed over at a time. */
  readonly batch: number;
  readonly models: Readonly<Record<Role, ModelInfo>>;
};

/** What one image came to. */
export type Outcome =
  | { readonly reading: Reading; readonly unreadable?: undefined }
  | { readonly unreadable: Unreadable; readonly reading?: undefined };

export type Answers = {
  open: Opened;
  read: readonly Outcome[];
  score: number;
  map: ActivationMap;
};

export type Message =
  | {
      readonly id: number;
      readonly kind: "progress";
      readonly done: number;
      readonly total: number;
    }
  | { readonly id: number; readonly kind: "answer"; readonly value: Answers[Kind] }
  | {
      readonly id: number;
      readonly kind: "failure";
      readonly message: string;
      readonly isKnown: boolean;
    };
