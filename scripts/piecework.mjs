// `npm run piecework -- …`: the command from a checkout.
import { setUp } from './setup.mjs';

await setUp({ quiet: true });
const { main } = await import('../dist/cli/main.js');
await main(process.argv.slice(2));
