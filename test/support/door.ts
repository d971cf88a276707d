/** A loopback address that leads to a port, or to nobody while it is shut. */
import { connect, createServer, type Socket } from 'node:net';

export interface Door {
  /** host:port of this side. */
  readonly name: string;
  open(): void;
  /** Ends the connections that go through it, and lets no more in. */
  shut(): void;
  close(): Promise<void>;
}

export async function doorTo(port: number, at: string): Promise<Door> {
  const sockets = new Set<Socket>();
  let isOpen = false;
  const keep = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer((outside) => {
    keep(outside);
    if (!isOpen) return void outside.destroy();
    const inside = connect({ host: '127.0.0.1', port });
    keep(inside);
    outside.pipe(inside);
    inside.pipe(outside);
    for (const [one, other] of [
      [outside, inside],
      [inside, outside],
    ] as const)
      one.on('close', () => other.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, at, resolve));
  const address = server.address();
  const shut = (): void => {
    isOpen = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    name: `${at}:${typeof address === 'object' && address !== null ? address.port : 0}`,
    open() {
      isOpen = true;
    },
    shut,
    async close() {
      shut();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
