/** What the tests use of two packages without types, as independent opinions on the same torrents. */
declare module 'create-torrent' {
  type Done = (error: Error | null, torrent: Uint8Array) => void;
  function createTorrent(
    input: string,
    options: { pieceLength: number; announce: string[] },
    done: Done,
  ): void;
  // biome-ignore lint/style/noDefaultExport: that is how the package exports it.
  export default createTorrent;
}

declare module 'parse-torrent' {
  interface Parsed {
    readonly infoHash: string;
    readonly announce: readonly string[];
    readonly files: readonly { readonly path: string }[];
  }
  function parseTorrent(torrent: Uint8Array | string): Promise<Parsed>;
  // biome-ignore lint/style/noDefaultExport: that is how the package exports it.
  export default parseTorrent;
}
