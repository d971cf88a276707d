// `npm start`: sets up what is missing, then runs the whole job once on embedded defaults.
import { setUp } from './setup.mjs';

await setUp();
const { main } = await import('../dist/cli/main.js');
await main(['demo', ...process.argv.slice(2)]);
