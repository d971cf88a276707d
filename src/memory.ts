/**
 * What keeps the collection of garbage short where things come by the thousand (docs/guide/performance.md): `shortLived`
 * for their bytes, `COLLECTOR_FLAG` for their objects.
 */

/**
 * For processes that handle vouchers. When the disk stalls, thousands of them wait at once. V8 would learn from it that
 * such objects live long, make all later ones in its old generation, and copy what they hold in every collection: pauses
 * of 6 ms instead of 1.
 */
export const COLLECTOR_FLAG = '--no-allocation-site-pretenuring';

/**
 * Bytes of a slab that many share, not zeroed: as cheap to forget as to make, where a memory of their own for each of many
 * keeps threads busy with giving them back. Who keeps them keeps the slab (8 KiB): copy to keep.
 */
export function shortLived(size: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(size);
  return new Uint8Array(bytes.buffer, bytes.byteOffset, size);
}
