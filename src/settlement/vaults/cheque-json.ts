/**
 * Cheques in the JSON of go-btfs (vaults.md 2): the payout is a bare integer of up to 78 digits, which JSON.parse
 * would round. Invariants: no digit is lost either way; what is read has exactly one meaning; the work is
 * bounded by the size allowed.
 */
import { type Address, formatAddress } from '../../channels/channel.js';
import { vaultChequeBytesMax } from '../../limits.js';
import { fromHex } from '../../units.js';
import { PAYOUT_MAX, refused, SIGNATURE_BYTES, type SignedCheque } from './cheque.js';

const NAMES = ['Token', 'Vault', 'Beneficiary', 'CumulativePayout', 'Signature'] as const;
type Name = (typeof NAMES)[number];

const SPACE = /[ \t\r\n]*/y;
/** No escapes: none of the five names and no address or base64 needs one. */
const STRING = /"([^"\\]*)"/y;
const INTEGER = /0|[1-9][0-9]{0,77}/y;
const ADDRESS = /^0x[0-9a-fA-F]{40}$/;
const BASE64 = /^[A-Za-z0-9+/]{87}=$/;

export function write(cheque: SignedCheque): string {
  const { token, vault, beneficiary, cumulativePayout, signature } = cheque;
  return (
    `{"Token":"${formatAddress(token)}","Vault":"${formatAddress(vault)}",` +
    `"Beneficiary":"${formatAddress(beneficiary)}","CumulativePayout":${cumulativePayout},` +
    `"Signature":"${Buffer.from(signature).toString('base64')}"}`
  );
}

/** @throws PieceworkError CHEQUE_REFUSED for anything but one well-formed cheque. */
export function read(text: string): SignedCheque {
  if (Buffer.byteLength(text) > vaultChequeBytesMax)
    throw refused(`its JSON is longer than ${vaultChequeBytesMax} bytes`);
  const fields = scan(text);
  return {
    token: address('Token', fields),
    vault: address('Vault', fields),
    beneficiary: address('Beneficiary', fields),
    cumulativePayout: payout(fields.get('CumulativePayout')!),
    signature: signature(fields.get('Signature')!),
  };
}

/** The five fields as they are written: strings without their quotes, the integer as its digits. */
function scan(text: string): ReadonlyMap<Name, string> {
  let at = 0;
  const match = (pattern: RegExp): RegExpExecArray | null => {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found) at = pattern.lastIndex;
    return found;
  };
  const take = (character: string): boolean => {
    match(SPACE);
    const there = text[at] === character;
    if (there) at++;
    match(SPACE);
    return there;
  };
  const expect = (character: string): void => {
    if (!take(character)) throw refused(`its JSON lacks "${character}" at character ${at}`);
  };
  const fields = new Map<Name, string>();
  expect('{');
  do {
    const name = match(STRING)?.[1] as Name | undefined;
    if (name === undefined || !NAMES.includes(name))
      throw refused(`its JSON has no known field at character ${at}`);
    if (fields.has(name)) throw refused(`its JSON has ${name} twice`);
    expect(':');
    const value = name === 'CumulativePayout' ? match(INTEGER)?.[0] : match(STRING)?.[1];
    if (value === undefined) throw refused(`its ${name} is not written as go-btfs writes it`);
    fields.set(name, value);
  } while (take(','));
  expect('}');
  if (at !== text.length) throw refused('something follows its JSON');
  const missing = NAMES.find((name) => !fields.has(name));
  if (missing) throw refused(`its JSON lacks ${missing}`);
  return fields;
}

function address(name: Name, fields: ReadonlyMap<Name, string>): Address {
  const text = fields.get(name)!;
  if (!ADDRESS.test(text)) throw refused(`its ${name} is not an address`);
  return fromHex(text);
}

function payout(digits: string): bigint {
  const value = BigInt(digits);
  if (value > PAYOUT_MAX) throw refused('its CumulativePayout is more than a uint256 holds');
  return value;
}

function signature(text: string): Uint8Array {
  const bytes = new Uint8Array(BASE64.test(text) ? Buffer.from(text, 'base64') : []);
  // Spare bits in the last digit would give one signature several texts.
  if (bytes.length !== SIGNATURE_BYTES || Buffer.from(bytes).toString('base64') !== text) {
    throw refused('its Signature is not base64 of 65 bytes');
  }
  return bytes;
}
