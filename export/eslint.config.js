/** Rules that the compiler has no eye for; what code looks like is Prettier's alone. */

import { defineConfig } from "eslint/config";
import { configs } from "typescript-eslint";

export default defineConfig([
  { ignores: ["dist", "public"] },
  { extends: [configs.recommended], rules: { eqeqeq: ["error", "smart"] } },
  {
    files: ["src/**"],
    extends: [configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      "no-console": ["error", { allow: ["info"] }],
      "@typescript-eslint/no-unused-vars": ["error", { ignoreRestSiblings: true }],
      "@typescript-eslint/switch-exhaustiveness-check": "error",
      // A function of an interface may have nothing to wait for, and lists read well in a message.
      "@typescript-eslint/require-await": "off",
      "@typescript-eslint/restrict-template-expressions": "off",
    },
  },
  {
    // What tests read from files of cases has no types.
    files: ["tests/**"],
    rules: { "@typescript-eslint/no-explicit-any": "off" },
  },
]);
