/** What this project uses of bittorrent-tracker 10, which ships no types. */
declare module 'bittorrent-tracker' {
  import type { Server as HttpServer } from 'node:http';

  export class Server {
    constructor(options: { http: boolean; udp: boolean; ws: boolean; stats?: boolean; trustProxy?: boolean });
    readonly http: HttpServer;
    listen(port: number, host: string, onListening: () => void): void;
    close(onClosed: () => void): void;
    on(event: 'error' | 'warning', listener: (error: Error) => void): this;
  }
}
