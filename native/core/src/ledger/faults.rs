//! Tests of a failing disk: they plan faults on their own thread, which only tests inside the crate can.

use std::path::PathBuf;

use crate::error::Code;
use crate::journal::Config;
use crate::journal::disk::fault::{Operation, plan};
use crate::ledger::Ledger;
use crate::records::command::{STRIDE, channel_put, grant, note, session_open, voucher};

const SEGMENT: u64 = 4096;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            std::env::temp_dir().join(format!("piecework-fault-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }

    fn open(&self) -> Ledger {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Ledger, crate::Error> {
        let config = Config {
            folder: &self.0,
            chain_id: 1,
            hub: [1; 20],
            segment_size: SEGMENT,
        };
        Ledger::open(&config, None).map(|(ledger, _)| ledger)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        plan(None);
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn record(kind: u8, fields: &[(usize, &[u8])]) -> [u8; STRIDE] {
    let mut record = [0; STRIDE];
    record[0] = kind;
    for (at, value) in fields {
        record[*at..at + value.len()].copy_from_slice(value);
    }
    record
}

fn put() -> [u8; STRIDE] {
    use channel_put as f;
    let deposit = (1u128 << 60).to_le_bytes();
    let fields: [(usize, &[u8]); 4] = [
        (f::ROLE, &[1]),
        (f::VOUCHER_KEY, &[2; 20]),
        (f::PAYEE, &[3; 20]),
        (f::DEPOSIT, &deposit),
    ];
    record(1, &fields)
}

fn open_session(id: u8) -> [u8; STRIDE] {
    let price = 1000u128.to_le_bytes();
    let fields: [(usize, &[u8]); 2] = [
        (session_open::SESSION_ID, &[id; 16]),
        (session_open::PRICE_MIB, &price),
    ];
    record(2, &fields)
}

fn grant_mib() -> [u8; STRIDE] {
    let limit = (1u128 << 80).to_le_bytes();
    let fields: [(usize, &[u8]); 2] = [
        (grant::BYTES, &(1u64 << 20).to_le_bytes()),
        (grant::EXPOSURE_LIMIT, &limit),
    ];
    record(4, &fields)
}

fn pay_up(amount: u128) -> [u8; STRIDE] {
    let row = amount.to_be_bytes();
    record(
        5,
        &[
            (voucher::ROW, &row[4..]),
            (voucher::VERIFIED, &[1]),
            (voucher::FINAL, &[1]),
        ],
    )
}

fn statuses(ledger: &Ledger, records: &[[u8; STRIDE]]) -> Vec<u8> {
    let outcomes = ledger.commit(&records.concat(), &[]).unwrap();
    let stride = crate::records::outcome::outcome::LAYOUT.stride;
    outcomes.chunks(stride).map(|outcome| outcome[0]).collect()
}

#[test]
fn a_failed_write_or_sync_poisons() {
    for operation in [Operation::Write, Operation::Sync] {
        let folder = Folder::new(&format!("poison-{operation:?}"));
        let ledger = folder.open();
        assert_eq!(statuses(&ledger, &[put(), open_session(1)]), [0, 0]);
        let before = ledger.state_hash().unwrap();
        plan(Some((operation, 0)));
        assert_eq!(
            ledger.commit(&grant_mib(), &[]).unwrap_err().code,
            Code::DiskFull
        );
        plan(None);
        // The disk is well again, but what it did with the frame is unknown: nothing is retried.
        assert_eq!(
            ledger.commit(&grant_mib(), &[]).unwrap_err().code,
            Code::LedgerPoisoned
        );
        assert_eq!(ledger.state_hash().unwrap_err().code, Code::LedgerPoisoned);
        assert_eq!(
            ledger.screen(&grant_mib(), &[]).unwrap_err().code,
            Code::LedgerPoisoned
        );
        assert_eq!(ledger.checkpoint().unwrap_err().code, Code::LedgerPoisoned);
        ledger.close().unwrap();
        drop(ledger);
        let again = folder.open();
        // A frame that was written but not acknowledged may be there or not; nothing else may.
        if operation == Operation::Write {
            assert_eq!(again.state_hash().unwrap(), before);
        }
        assert_eq!(statuses(&again, &[grant_mib()]), [0]);
    }
}

#[test]
fn every_failing_operation_leaves_a_ledger_that_opens() {
    for operation in [Operation::Write, Operation::Sync, Operation::Allocate] {
        for spared in 0..40 {
            let folder = Folder::new(&format!("any-{operation:?}-{spared}"));
            plan(Some((operation, spared)));
            let mut acknowledged = None;
            if let Ok(ledger) = folder.try_open() {
                let mut commit = |records: &[[u8; STRIDE]]| {
                    if ledger.commit(&records.concat(), &[]).is_ok() {
                        acknowledged = ledger.state_hash().ok();
                    }
                };
                commit(&[put(), open_session(1)]);
                for _ in 0..120 {
                    commit(&[grant_mib()]);
                }
            }
            plan(None);
            let again = folder.open();
            let replayed = again.state_hash().unwrap();
            let is_kept = acknowledged.is_none_or(|hash| hash == replayed);
            // A synced frame whose sync was reported as failed may be there as well.
            assert!(
                is_kept || operation == Operation::Sync,
                "{operation:?} after {spared}"
            );
        }
    }
}

#[test]
fn low_space_stops_credit_before_vouchers() {
    let folder = Folder::new("low");
    let ledger = folder.open();
    assert_eq!(statuses(&ledger, &[put(), open_session(1)]), [0, 0]);
    plan(Some((Operation::Allocate, 0)));
    let mut granted = 0u128;
    while statuses(&ledger, &[grant_mib()]) == [0] {
        granted += 1000;
    }
    assert!(
        granted > 10_000,
        "the first half of the segment is free for all"
    );
    assert_eq!(statuses(&ledger, &[grant_mib(), open_session(2)]), [9, 9]);
    // Vouchers go on while the segment has room, and stop without harm when it has none.
    let mut paid = 0;
    while statuses(&ledger, &[pay_up(paid + 1)]) == [0] {
        paid += 1;
    }
    assert!(paid > 8, "{paid}");
    assert_eq!(statuses(&ledger, &[pay_up(paid + 1)]), [9]);
    plan(None);
    // It notices by itself that there is space again.
    let tries = (0..100)
        .take_while(|_| statuses(&ledger, &[grant_mib()]) != [0])
        .count();
    assert!(tries < 80, "{tries}");
    assert_eq!(statuses(&ledger, &[pay_up(paid + 1)]), [0]);
    let hash = ledger.state_hash().unwrap();
    drop(ledger);
    assert_eq!(folder.open().state_hash().unwrap(), hash);
}

#[test]
fn a_note_that_cannot_fit_is_refused() {
    let folder = Folder::new("note");
    let ledger = folder.open();
    let value = vec![1; SEGMENT as usize];
    let size = (SEGMENT as u32).to_le_bytes();
    let fields: [(usize, &[u8]); 2] = [(note::PRESENT, &[1]), (note::VALUE_SIZE, &size)];
    let outcomes = ledger.commit(&record(13, &fields), &value).unwrap();
    assert_eq!(outcomes[0], 9);
}

#[test]
fn a_panic_poisons_and_does_not_spread() {
    let folder = Folder::new("panic");
    let ledger = folder.open();
    let burst = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _state = ledger.state.write().unwrap();
        panic!("a broken invariant");
    }));
    assert!(burst.is_err());
    assert_eq!(
        ledger.commit(&put(), &[]).unwrap_err().code,
        Code::LedgerPoisoned
    );
    assert_eq!(ledger.summary().unwrap_err().code, Code::LedgerPoisoned);
    ledger.close().unwrap();
    folder.open();
}
