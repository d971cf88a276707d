/**
 * The daemon's figures for Prometheus. Labels never carry what peers say or what changes with every peer.
 * Amounts are shown in BTT as floating-point numbers, as that format has them: the exact ones are in the
 * statement.
 */
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Operations } from '../engine/operations.js';
import { BTT } from '../units.js';

export interface Metrics {
  readonly contentType: string;
  render(): Promise<string>;
}

export function createMetrics(operations: Operations): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'piecework_' });
  const gauge = (name: string, help: string, labelNames: string[] = []): Gauge =>
    new Gauge({ name: `piecework_${name}`, help, labelNames, registers: [registry] });

  const peers = gauge('peers', 'Connected peers');
  const torrents = gauge('torrents', 'Torrents served');
  const served = gauge('served_bytes', 'Payload bytes that left for peers since the start', ['infohash']);
  const earned = gauge('earned_btt', 'Sum of all accepted heads');
  const claims = gauge('claims_btt', 'Accepted heads by where their money is', ['state']);
  const fees = gauge('settlement_fees_btt', 'Gas of ended settlements');
  const skipped = gauge('skipped_channels', 'Channels the last plan left out with something to claim', [
    'reason',
  ]);
  const alarms = gauge('node_alarms', 'Faults found in chain nodes since the start', ['kind']);
  const unheld = gauge('tower_unheld_channels', 'Channels whose newest head a tower does not hold', [
    'tower',
  ]);
  const channels = gauge('channels', 'Channels known', ['role', 'phase']);
  const unsecured = gauge('vault_unsecured_btt', 'Owed by BTFS vaults in WBTT: unsecured credit');
  const lost = gauge('vault_lost_btt', 'Owed by BTFS vaults in WBTT and written off');
  const frozen = gauge('vaults_frozen', 'BTFS vaults whose issuer gets no more credit');

  return {
    contentType: registry.contentType,
    async render() {
      const [status, { channels: rows, totals }, { totals: owed, vaults }] = await Promise.all([
        operations.status(),
        operations.statement(),
        operations.vaults.list(),
      ]);
      peers.set(status.peers);
      torrents.set(status.torrents.length);
      for (const torrent of status.torrents) served.set({ infohash: torrent.infohash }, torrent.bytesServed);
      earned.set(inBtt(status.earned));
      claims.set({ state: 'claimable' }, inBtt(totals.claimable));
      claims.set({ state: 'in_flight' }, inBtt(totals.inFlight));
      claims.set({ state: 'confirmed' }, inBtt(totals.confirmed));
      claims.set({ state: 'final' }, inBtt(totals.settled));
      claims.set({ state: 'written_off' }, inBtt(totals.lost));
      fees.set(inBtt(totals.fees));
      skipped.reset();
      for (const { skipped: reason } of rows) if (reason !== undefined) skipped.inc({ reason });
      for (const [kind, count] of Object.entries(status.nodeAlarms)) alarms.set({ kind }, count);
      unheld.reset();
      for (const view of status.towers) unheld.set({ tower: view.tower }, view.unheld);
      const wbtt = owed.find(({ isWbtt }) => isWbtt);
      unsecured.set(inBtt(wbtt?.outstanding ?? '0'));
      lost.set(inBtt(wbtt?.writtenOff ?? '0'));
      frozen.set(vaults.filter((vault) => vault.frozen !== undefined).length);
      channels.reset();
      for (const row of rows) channels.inc({ role: row.role, phase: row.phase });
      return registry.metrics();
    },
  };
}

function inBtt(amount: string): number {
  const wei = BigInt(amount);
  return Number(wei / BTT) + Number(wei % BTT) / Number(BTT);
}
