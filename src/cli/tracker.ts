/** A BitTorrent tracker on loopback, for the demonstration: payee and payer find each other through it. */
import { Server } from 'bittorrent-tracker';
import { PieceworkError } from '../errors.js';

export interface Tracker {
  readonly url: string;
  close(): Promise<void>;
}

/** @throws PieceworkError LISTEN_FAILED. */
export function startTracker(): Promise<Tracker> {
  const server = new Server({ http: true, udp: false, ws: false, stats: false });
  return new Promise((resolve, reject) => {
    server.on('error', (thrown: Error) =>
      reject(new PieceworkError('LISTEN_FAILED', thrown.message, { cause: thrown })),
    );
    server.on('warning', () => {});
    server.listen(0, '127.0.0.1', () => {
      const address = server.http.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      const close = (): Promise<void> => new Promise((done) => server.close(() => done()));
      resolve({ url: `http://127.0.0.1:${port}/announce`, close });
    });
  });
}
