/**
 * What this project uses of bittorrent-protocol 5.0.9, which ships no types. The underscored members are not
 * public there: the guard replaces them on each instance, and a test fails when an upgrade takes one away.
 */
declare module 'bittorrent-protocol' {
  export interface WireExtension {
    onHandshake?(infohash: string, peerId: string, extensions: Record<string, boolean>): unknown;
    onExtendedHandshake?(handshake: Record<string, unknown>): unknown;
    onMessage?(bytes: Uint8Array): unknown;
  }

  /** An extension's class; `prototype.name` is its BEP 10 name. */
  export type WireExtensionConstructor = new (wire: Wire) => WireExtension;

  // biome-ignore lint/style/noDefaultExport: that is how the library exports it.
  export { Wire as default };

  class Wire {
    constructor(type?: 'tcpIncoming' | 'tcpOutgoing', peEnabled?: 0 | 1 | 2);
    readonly type: string;
    readonly peerId: string | null;
    readonly peerIdBuffer: Uint8Array | null;
    amChoking: boolean;
    amInterested: boolean;
    peerChoking: boolean;
    peerInterested: boolean;
    readonly peerPieces: { get(index: number): boolean; set(index: number, value?: boolean): void };
    readonly hasFast: boolean;
    readonly extendedHandshake: Record<string, unknown>;
    readonly peerExtendedHandshake: Record<string, unknown>;
    readonly peerExtendedMapping: Record<string, number>;
    readonly peerRequests: readonly unknown[];
    readonly requests: readonly unknown[];
    readonly destroyed: boolean;

    use(extension: WireExtensionConstructor): void;
    handshake(infohash: string, peerId: string, extensions?: { fast: boolean; dht: boolean }): void;
    pipe<Target>(target: Target): Target;
    startEncryption(infohash: string): void;
    setInfoHash(infohash: string): void;
    keepAlive(): void;
    choke(): void;
    unchoke(): void;
    interested(): void;
    uninterested(): void;
    have(index: number): void;
    bitfield(bits: Uint8Array): void;
    haveAll(): void;
    haveNone(): void;
    reject(index: number, offset: number, length: number): void;
    extended(name: string | number, payload: Uint8Array | Record<string, unknown>): void;
    end(): void;
    destroy(): void;
    resume(): void;
    on(event: 'handshake', listener: (infohash: string, peerId: string) => void): this;
    on(event: 'crypto-infohash', listener: (hash: string) => void): this;
    on(event: string, listener: () => void): this;
    once(event: string, listener: () => void): this;
    emit(event: string, ...details: unknown[]): boolean;

    _ext: Record<string, WireExtension>;
    readonly _encryptionMethod: 1 | 2 | null | undefined;
    readonly _encryptor: { encrypt(bytes: Uint8Array): Uint8Array } | null;
    /** Bytes that wait for the parser, and how many it waits for. */
    readonly _bufferSize: number;
    readonly _parserSize: number;
    _write(bytes: Uint8Array, done: () => void): void;
    _push(bytes: Uint8Array): void;
    _message(type: number, numbers: readonly number[], payload: Uint8Array | null): void;
    _parse(size: number, parser: (bytes: Uint8Array) => void): void;
    _onMessageLength(bytes: Uint8Array): void;
    _onMessage(bytes: Uint8Array): void;
    _onKeepAlive(): void;
    _onChoke(): void;
    _onExtended(id: number, bytes: Uint8Array): void;
    _onRequest(index: number, offset: number, length: number): void;
    _onPiece(index: number, offset: number, bytes: Uint8Array): void;
    _onCancel(index: number, offset: number, length: number): void;
    _onReject(index: number, offset: number, length: number): void;
  }
}
