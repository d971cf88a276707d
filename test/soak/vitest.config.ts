import { defineConfig } from 'vitest/config';

// Long forms of tests, one file each, run by scripts/soak.mjs; `npm test` does not see them.
export default defineConfig({
  test: {
    include: ['test/soak/**/*.soak.ts'],
    pool: 'forks',
    maxWorkers: 1,
    // For what hangs; how long the rest takes is the machine's.
    testTimeout: 4 * 3_600_000,
    hookTimeout: 60_000,
    disableConsoleIntercept: true,
  },
});
