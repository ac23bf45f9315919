/* Rules for the scripts of the page and their tests; layout belongs to Prettier. */

import js from "@eslint/js"
import globals from "globals"

export default [
  js.configs.recommended,
  {
    languageOptions: {ecmaVersion: 2023, sourceType: "module", globals: globals.browser},
    linterOptions: {reportUnusedDisableDirectives: "error"},
    rules: {
      complexity: ["error", 12],
      eqeqeq: ["error", "always"],
      "no-shadow": "error",
      "no-unused-vars": ["error", {argsIgnorePattern: "^_"}],
      "no-var": "error",
      "prefer-const": "error",
    },
  },
  {files: ["**/tests/**/*.js"], languageOptions: {globals: globals.node}},
]
