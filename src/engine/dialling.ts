/**
 * Whom a download dials: addresses it has heard of, a few at a time, each again after a while, and none that is banned
 * or was left because it let pieces wait.
 */
import type { Bans } from '../accounting/bans.js';
import type { Clock } from '../clock.js';
import { dialsMax, redialMs } from '../limits.js';

export interface Target {
  readonly address: string;
  readonly port: number;
}

export interface DiallingOptions {
  readonly clock: Clock;
  readonly bans: Bans;
  /** Peers that are connected now. */
  readonly connected: () => readonly Target[];
  readonly dial: (target: Target) => Promise<unknown>;
}

export interface Dialling {
  /** Hears of an address, and dials it when there is room. */
  learn(target: Target): void;
  /** Leaves an address alone for that long. */
  pause(address: string, ms: number): void;
  isUnwanted(address: string): boolean;
  stop(): void;
}

export function createDialling({ clock, bans, connected, dial }: DiallingOptions): Dialling {
  const targets = new Map<string, Target & { triedMs: number }>();
  const dialling = new Set<string>();
  /** Addresses, and until when they are left alone. */
  const paused = new Map<string, number>();

  function isUnwanted(address: string): boolean {
    return bans.isBanned(address) || (paused.get(address) ?? 0) > clock.monotonicMs();
  }

  function dialMore(): void {
    const nowMs = clock.monotonicMs();
    const peers = connected();
    for (const [name, target] of targets) {
      if (dialling.size + peers.length >= dialsMax) return;
      const { address, port, triedMs } = target;
      if (dialling.has(name) || nowMs - triedMs < redialMs || isUnwanted(address)) continue;
      if (peers.some((peer) => peer.address === address && peer.port === port)) continue;
      target.triedMs = nowMs;
      dialling.add(name);
      dial({ address, port })
        .catch(() => undefined)
        .finally(() => dialling.delete(name));
    }
  }

  const stop = clock.every(redialMs, dialMore);
  return {
    learn({ address, port }) {
      const name = `${address}:${port}`;
      if (targets.has(name)) return;
      targets.set(name, { address, port, triedMs: Number.NEGATIVE_INFINITY });
      dialMore();
    },
    pause: (address, ms) => void paused.set(address, clock.monotonicMs() + ms),
    isUnwanted,
    stop,
  };
}
