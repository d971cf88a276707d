/**
 * Since when each channel has had something unsettled: durable, so that a restart makes nothing young again. Kept
 * only for channels that have something unsettled.
 */
import { fromHex } from '../units.js';
import type { Ledger } from './ledger.js';
import { noteSpaces } from './spaces.js';

interface Age {
  /** Hex of the channel's id. */
  readonly channel: string;
  /** Unix seconds. */
  readonly since: number;
}

export class Ages {
  readonly #ledger: Ledger;
  readonly #since: Map<string, number>;

  private constructor(ledger: Ledger, ages: readonly Age[]) {
    this.#ledger = ledger;
    this.#since = new Map(ages.map(({ channel, since }) => [channel, since]));
  }

  static async open(ledger: Ledger): Promise<Ages> {
    return new Ages(ledger, await ledger.notes<Age>(noteSpaces.ages));
  }

  /**
   * These channels (hex of their ids) have something unsettled at `now` (unix seconds), no others have. Gives the
   * seconds for which each has. Costs one write for each that comes or goes.
   */
  async see(channels: readonly string[], now: number): Promise<(channel: string) => number> {
    const named = new Set(channels);
    const gone = [...this.#since.keys()].filter((name) => !named.has(name));
    const come = [...named].filter((name) => !this.#since.has(name));
    // Together, so that they share a sync.
    await Promise.all([
      ...gone.map((name) => this.#ledger.removeNote(noteSpaces.ages, fromHex(name))),
      ...come.map((name) =>
        this.#ledger.putNote(noteSpaces.ages, fromHex(name), { channel: name, since: now } satisfies Age),
      ),
    ]);
    for (const name of gone) this.#since.delete(name);
    for (const name of come) this.#since.set(name, now);
    return (name) => Math.max(0, now - (this.#since.get(name) ?? now));
  }
}
