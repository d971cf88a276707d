// A process that starts a development chain, prints its process id and then waits for its own end, or ends
// by itself when it is told `exit`. It loads the source the way the tests do.
import { fileURLToPath } from 'node:url';
import { createServer } from 'vite';

const vite = await createServer({
  root: fileURLToPath(new URL('../../../', import.meta.url)),
  configFile: false,
  logLevel: 'silent',
  appType: 'custom',
  server: { middlewareMode: true, watch: null, ws: false, hmr: false },
  optimizeDeps: { noDiscovery: true },
});
const { start } = await vite.ssrLoadModule('/src/settlement/dev-chain.ts');
const { pid } = await start({ blockTime: 0 });
process.stdout.write(`${pid}\n`);
setTimeout(() => process.exit(0), process.argv[2] === 'exit' ? 500 : 30_000);
