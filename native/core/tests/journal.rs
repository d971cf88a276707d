//! The journal on a real disk: torn tails, damage, restarts, checkpoints, foreign files and the lock.
//!
//! The law of every damage test: what is lost is at most the tail, and that only if nothing valid
//! stands behind it; otherwise opening fails with `JOURNAL_CORRUPT` and changes nothing.

mod support;

use piecework_core::Code;
use piecework_core::journal::{frame, segment};
use piecework_core::ledger::Ledger;
use piecework_core::records::read::Table;
use support::*;

const SEGMENT: u64 = 8192;

/// A ledger of a few frames, abandoned without a close. Gives the folder, the state hash after each
/// number of frames, and where each frame ends.
fn abandoned() -> (Folder, Vec<[u8; 32]>, Vec<usize>) {
    let folder = Folder::new();
    let ledger = open(&folder.0, SEGMENT);
    let mut hashes = vec![ledger.state_hash().unwrap()];
    let chain = Foreign {
        end: 9,
        amount: 1000,
        unit: 10,
        length: 20,
    };
    let batches: [&[Record]; 5] = [
        &[Put::payee(1).record(), Put::payer(1).record()],
        &[
            session_open(0, 1, 1, 1000, 1, 0),
            session_open(1, 2, 2, 1000, 1, 50),
            budget(2, 9999),
        ],
        &[
            grant(0, 2 * MIB, 9999),
            purchase(1, 0, 1 << 20),
            purchase(1, 1, 1 << 20),
        ],
        &[
            accept(0, 1000),
            tick_voucher(0, &chain.row(3), true),
            tick(0, 7, &chain.tick(7)),
            receive(1, 0, 1 << 20),
            open_chain(1, 10, 4),
            reveal(1, 2, 50),
        ],
        &[note(1, 1, Some((0, 3)))],
    ];
    for batch in batches {
        let bytes = ledger.commit(&batch.concat(), b"abc").unwrap();
        assert!(outcomes(&bytes).iter().all(|name| *name == "ok"));
        hashes.push(ledger.state_hash().unwrap());
    }
    drop(ledger);
    let bytes = std::fs::read(segment::path(&folder.0, 1)).unwrap();
    let mut ends = vec![segment::HEADER_SIZE];
    while let Some(found) = frame::at(&bytes, ends[ends.len() - 1]) {
        ends.push(found.end);
    }
    assert_eq!(ends.len(), hashes.len(), "one frame a batch");
    (folder, hashes, ends)
}

#[test]
fn a_restart_gives_the_same_state() {
    let (folder, hashes, _) = abandoned();
    let (ledger, summary) = try_open(&folder.0, SEGMENT).unwrap();
    assert_eq!(ledger.state_hash().unwrap(), hashes[5]);
    assert_eq!(
        (summary.created, summary.sequence, summary.frame_count),
        (false, 5, 5)
    );
    assert_eq!((summary.cut_bytes, summary.checkpoint_sequence), (0, 0));
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let (folder, hashes, ends) = abandoned();
    let path = segment::path(&folder.0, 1);
    let whole = std::fs::read(&path).unwrap();
    let last = ends[ends.len() - 1];
    for at in segment::HEADER_SIZE..=last {
        // The bytes from `at` on never reached the disk; the frames that ended before it did.
        let mut torn = whole.clone();
        torn[at..].fill(0);
        std::fs::write(&path, &torn).unwrap();
        let (ledger, summary) = try_open(&folder.0, SEGMENT).unwrap();
        // A frame whose missing bytes were zero anyway is whole.
        let kept = (0..hashes.len())
            .rev()
            .find(|n| torn[..ends[*n]] == whole[..ends[*n]])
            .unwrap();
        assert_eq!(ledger.state_hash().unwrap(), hashes[kept], "torn at {at}");
        assert_eq!(summary.sequence, kept as u64);
        drop(ledger);
        let after = std::fs::read(&path).unwrap();
        assert!(
            after[ends[kept]..].iter().all(|byte| *byte == 0),
            "the tail is zeroed"
        );
    }
}

#[test]
fn a_file_cut_short_at_any_byte_keeps_its_whole_frames() {
    let (folder, hashes, ends) = abandoned();
    let path = segment::path(&folder.0, 1);
    let whole = std::fs::read(&path).unwrap();
    let last = ends[ends.len() - 1];
    for size in 0..=last + 16 {
        std::fs::write(&path, &whole[..size]).unwrap();
        let opened = try_open(&folder.0, SEGMENT);
        if size < segment::HEADER_SIZE {
            assert_eq!(
                opened.err().unwrap().code,
                Code::JournalCorrupt,
                "size {size}"
            );
            continue;
        }
        let ledger = opened.unwrap().0;
        let kept = ends
            .iter()
            .rposition(|end| *end <= size + padding(&whole, *end, size))
            .unwrap();
        assert_eq!(ledger.state_hash().unwrap(), hashes[kept], "size {size}");
        // It goes on: the next frame finds room in another segment.
        assert_eq!(one(&ledger, Put::payee(77).record()), "ok");
        let after = ledger.state_hash().unwrap();
        drop(ledger);
        assert_eq!(
            open(&folder.0, SEGMENT).state_hash().unwrap(),
            after,
            "size {size}"
        );
        for extra in folder.files("seg-", ".pwj").iter().skip(1) {
            std::fs::remove_file(extra).unwrap();
        }
    }
}

/// How many bytes of padding the frame that ends at `end` may lack in a file of `size` bytes.
fn padding(whole: &[u8], end: usize, size: usize) -> usize {
    let is_padding = size < end && end - size < 8 && whole[size..end].iter().all(|byte| *byte == 0);
    let payload_end = (0..end).rev().find_map(|from| {
        let found = frame::at(whole, from).filter(|found| found.end == end && from % 8 == 0)?;
        Some(from + frame::HEADER_SIZE + found.payload.len())
    });
    if is_padding && payload_end.is_some_and(|at| at <= size) {
        end - size
    } else {
        0
    }
}

#[test]
fn a_bit_flipped_anywhere_is_noticed_or_costs_only_the_tail() {
    let (folder, hashes, ends) = abandoned();
    let path = segment::path(&folder.0, 1);
    let whole = std::fs::read(&path).unwrap();
    let (first_of_last, last) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    let (mut cut, mut refused, mut unharmed) = (0, 0, 0);
    for bit in 0..(last + 16) * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &bad).unwrap();
        match try_open(&folder.0, SEGMENT) {
            Err(error) => {
                assert!(
                    matches!(error.code, Code::JournalCorrupt),
                    "bit {bit}: {error}"
                );
                assert!(
                    bit / 8 < first_of_last,
                    "bit {bit}: only the last frame may be cut"
                );
                assert_eq!(
                    std::fs::read(&path).unwrap(),
                    bad,
                    "nothing is changed on disk"
                );
                refused += 1;
            }
            Ok((ledger, _)) => {
                let hash = ledger.state_hash().unwrap();
                if hash == hashes[5] {
                    unharmed += 1;
                    continue;
                }
                assert_eq!(hash, hashes[4], "bit {bit}: more than the tail is lost");
                assert!(
                    bit / 8 >= first_of_last,
                    "bit {bit}: a middle frame is lost in silence"
                );
                cut += 1;
            }
        }
    }
    // What is unharmed is padding, or zeros behind the end.
    assert!(
        cut > 200 && refused > 2000 && unharmed > 100,
        "{cut} {refused} {unharmed}"
    );
}

#[test]
fn frames_out_of_place_are_corruption() {
    let (folder, _, ends) = abandoned();
    let path = segment::path(&folder.0, 1);
    let whole = std::fs::read(&path).unwrap();
    let swap = |from: usize, to: usize| {
        let mut bad = whole.clone();
        let frame = whole[ends[from]..ends[from + 1]].to_vec();
        bad[ends[to]..].fill(0);
        bad[ends[to]..ends[to] + frame.len()].copy_from_slice(&frame);
        bad
    };
    for (name, bytes) in [
        ("a frame is missing", swap(3, 2)),
        ("the last is skipped", swap(4, 3)),
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = try_open(&folder.0, SEGMENT).err().expect(name);
        assert_eq!(error.code, Code::JournalCorrupt, "{name}");
        assert!(error.detail.contains("offset"), "{error}");
    }
}

/// Flips a bit in the middle of a file.
fn damage(path: &std::path::Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Commits grants until the ledger has that many segments; gives the state hash.
fn fill(folder: &Folder, ledger: &Ledger, segments: usize) -> [u8; 32] {
    while folder.files("seg-", ".pwj").len() < segments {
        assert_eq!(one(ledger, grant(0, 1, u128::from(u32::MAX))), "ok");
    }
    ledger.state_hash().unwrap()
}

fn ready(folder: &Folder, segment: u64) -> Ledger {
    let ledger = open(&folder.0, segment);
    let setup = [
        Put {
            deposit: 1 << 60,
            ..Put::payee(1)
        }
        .record(),
        session_open(0, 1, 1, 1000, 1, 0),
    ];
    assert_eq!(commit(&ledger, &setup), ["ok", "ok"]);
    ledger
}

#[test]
fn segments_follow_each_other_and_checkpoints_shorten_the_way() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    let hash = fill(&folder, &ledger, 10);
    drop(ledger);
    assert_eq!(
        folder.files("checkpoint-", ".pwc").len(),
        2,
        "one spare is kept"
    );
    let (ledger, summary) = try_open(&folder.0, 4096).unwrap();
    assert!(summary.checkpoint_sequence > 0 && summary.frame_count > 0);
    assert_eq!(ledger.state_hash().unwrap(), hash);
    drop(ledger);
    // The checkpoints are damaged, then gone: the segments still tell all.
    for (at, path) in folder.files("checkpoint-", ".pwc").iter().rev().enumerate() {
        damage(path);
        let (ledger, found) = try_open(&folder.0, 4096).unwrap();
        assert_eq!(found.checkpoints_damaged, at as u32 + 1);
        assert!(found.checkpoint_sequence < summary.checkpoint_sequence);
        assert_eq!(ledger.state_hash().unwrap(), hash);
    }
    for path in folder.files("checkpoint-", ".pwc") {
        std::fs::remove_file(path).unwrap();
    }
    let (ledger, found) = try_open(&folder.0, 4096).unwrap();
    assert_eq!(
        (found.checkpoint_sequence, ledger.state_hash().unwrap()),
        (0, hash)
    );
}

#[test]
fn a_damaged_checkpoint_takes_the_place_of_no_sound_one() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    fill(&folder, &ledger, 3);
    ledger.close().unwrap();
    let spare = folder.files("checkpoint-", ".pwc").pop().unwrap();
    let mut expected = vec![spare.clone()];
    // Newer by their numbers, whether a ledger gets there or not.
    let (ledger, summary) = try_open(&folder.0, 4096).unwrap();
    one(&ledger, grant(0, 1, 1 << 40));
    for sequence in [summary.sequence + 1, u64::MAX - 1, u64::MAX] {
        let forged = folder.0.join(format!("checkpoint-{sequence:016x}.pwc"));
        std::fs::copy(&spare, &forged).unwrap();
        damage(&forged);
    }
    drop(ledger);
    let (ledger, summary) = try_open(&folder.0, 4096).unwrap();
    assert_eq!(summary.checkpoints_damaged, 3);
    one(&ledger, grant(0, 1, 1 << 40));
    let hash = ledger.state_hash().unwrap();
    let name = format!("checkpoint-{:016x}.pwc", summary.sequence + 1);
    expected.push(folder.0.join(name));
    ledger.close().unwrap();
    assert_eq!(folder.files("checkpoint-", ".pwc"), expected);
    // Either of the two is enough where the history behind them can no longer be read.
    damage(&segment::path(&folder.0, 1));
    for damaged in [1, 0] {
        let copy = folder.copy();
        damage(&copy.0.join(expected[damaged].file_name().unwrap()));
        let (ledger, summary) = try_open(&copy.0, 4096).unwrap();
        assert_eq!(summary.checkpoints_damaged, damaged as u32);
        assert_eq!(ledger.state_hash().unwrap(), hash);
    }
}

#[test]
fn a_checkpoint_of_before_there_were_chains_is_read() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    let hash = fill(&folder, &ledger, 3);
    ledger.close().unwrap();
    let path = folder.files("checkpoint-", ".pwc").pop().unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let body = &bytes[..bytes.len() - 4];
    // The same state in format 1: it ends before the count of chains, which is 0.
    let (mut old, count) = (body[..body.len() - 4].to_vec(), &body[body.len() - 4..]);
    assert_eq!((body[8], count), (2, &[0; 4][..]));
    old[8] = 1;
    old.extend(crc32c::crc32c(&old).to_le_bytes());
    std::fs::write(&path, old).unwrap();
    let (ledger, summary) = try_open(&folder.0, 4096).unwrap();
    assert_eq!((summary.checkpoints_damaged, summary.frame_count), (0, 0));
    assert_eq!(ledger.state_hash().unwrap(), hash);
}

#[test]
fn a_clean_close_leaves_nothing_to_replay() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    let hash = fill(&folder, &ledger, 3);
    ledger.close().unwrap();
    assert_eq!(ledger.close().unwrap_err().code, Code::LedgerClosed);
    assert_eq!(
        ledger.commit(&[], &[]).unwrap_err().code,
        Code::LedgerClosed
    );
    let (again, summary) = try_open(&folder.0, 4096).unwrap();
    assert_eq!(summary.frame_count, 0);
    assert_eq!(summary.checkpoint_sequence, summary.sequence);
    assert_eq!(again.state_hash().unwrap(), hash);
    assert_eq!(one(&again, grant(0, 1, 1 << 40)), "ok");
}

/// Puts bytes into a checkpoint and makes its checksum right again.
fn forge(path: &std::path::Path, from: usize, bytes: &[u8]) {
    let mut whole = std::fs::read(path).unwrap();
    let end = whole.len() - 4;
    whole[from..from + bytes.len()].copy_from_slice(bytes);
    let sum = crc32c::crc32c(&whole[..end]);
    whole[end..].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(path, whole).unwrap();
}

#[test]
fn a_checkpoint_that_no_ledger_wrote_is_passed_over_or_reads_as_a_sound_state() {
    let folder = Folder::new();
    let ledger = open(&folder.0, SEGMENT);
    let batch = [
        Put::payer(1).record(),
        Put::payer(2).record(),
        session_open(0, 1, 1, 1000, 1, 50),
        session_open(1, 2, 2, 1000, 1, 50),
        budget(1, 9999),
        budget(2, 9999),
        purchase(0, 5, 1 << 20),
        purchase(1, 6, 1 << 20),
        note(1, 1, Some((0, 3))),
    ];
    let bytes = ledger.commit(&batch.concat(), b"abc").unwrap();
    assert!(outcomes(&bytes).iter().all(|name| *name == "ok"));
    let hash = ledger.state_hash().unwrap();
    ledger.close().unwrap();
    let path = folder.files("checkpoint-", ".pwc").pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let (mut passed_over, mut sound) = (0, 0);
    for from in (64..whole.len() - 8).step_by(3) {
        for word in [[0; 4], [1, 0, 0, 0], [0xff; 4]] {
            std::fs::write(&path, &whole).unwrap();
            forge(&path, from, &word);
            let (ledger, summary) = try_open(&folder.0, SEGMENT).unwrap();
            for table in [Table::Sessions, Table::Outstanding, Table::Budgets] {
                ledger.read(table, 0, usize::MAX).unwrap();
            }
            match summary.checkpoints_damaged {
                0 => sound += 1,
                _ => passed_over += 1,
            }
            let is_same = ledger.state_hash().unwrap() == hash;
            assert!(
                is_same || summary.checkpoints_damaged == 0,
                "word at {from}"
            );
        }
    }
    // A deposit or a key may be any; counts, indexes and sums may not.
    assert!(passed_over > 150 && sound > 150, "{passed_over} {sound}");
}

#[test]
fn a_sequence_that_no_ledger_reaches_is_corruption() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    ledger.close().unwrap();
    let hash = ledger_hash(&folder);
    let last = folder.files("checkpoint-", ".pwc").pop().unwrap();
    for sequence in [u64::MAX, u64::MAX - 1, 1 << 53] {
        let forged = folder.0.join(format!("checkpoint-{sequence:016x}.pwc"));
        std::fs::copy(&last, &forged).unwrap();
        forge(&forged, 32, &sequence.to_le_bytes());
        let (ledger, summary) = try_open(&folder.0, 4096).unwrap();
        assert_eq!(summary.checkpoints_damaged, 1);
        assert_eq!(ledger.state_hash().unwrap(), hash);
        drop(ledger);
        std::fs::remove_file(&forged).unwrap();
        let copy = folder.copy();
        for path in copy.files("", ".pwc").iter().chain(&copy.files("", ".pwj")) {
            std::fs::remove_file(path).unwrap();
        }
        let mut header = std::fs::read(segment::path(&folder.0, 1)).unwrap();
        header[32..40].copy_from_slice(&sequence.to_le_bytes());
        let sum = crc32c::crc32c(&header[..60]);
        header[60..64].copy_from_slice(&sum.to_le_bytes());
        std::fs::write(segment::path(&copy.0, sequence), header).unwrap();
        let error = try_open(&copy.0, 4096).err().unwrap();
        assert_eq!(error.code, Code::JournalCorrupt);
    }
}

fn ledger_hash(folder: &Folder) -> [u8; 32] {
    open(&folder.0, 4096).state_hash().unwrap()
}

#[test]
fn a_missing_segment_or_covered_frame_is_corruption() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    fill(&folder, &ledger, 4);
    drop(ledger);
    let segments = folder.files("seg-", ".pwj");
    for missing in [0, 1, 2] {
        let copy = folder.copy();
        std::fs::remove_file(copy.0.join(segments[missing].file_name().unwrap())).unwrap();
        let error = try_open(&copy.0, 4096).err().expect("a gap is noticed");
        assert_eq!(error.code, Code::JournalCorrupt, "segment {missing}");
    }
    open(&folder.0, 4096).close().unwrap();
    // The last frame is covered by the checkpoint of the close, so it was durable: it cannot be torn.
    let path = folder.files("seg-", ".pwj").pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(
        try_open(&folder.0, 4096).err().unwrap().code,
        Code::JournalCorrupt
    );
}

#[test]
fn segments_of_another_ledger_are_not_taken() {
    let (one_folder, other) = (Folder::new(), Folder::new());
    for folder in [&one_folder, &other] {
        fill(folder, &ready(folder, 4096), 3);
    }
    let name = one_folder.files("seg-", ".pwj")[1]
        .file_name()
        .unwrap()
        .to_owned();
    std::fs::copy(other.0.join(&name), one_folder.0.join(&name)).unwrap();
    assert_eq!(
        try_open(&one_folder.0, 4096).err().unwrap().code,
        Code::JournalCorrupt
    );
}

#[test]
fn another_chain_or_hub_is_foreign() {
    let (folder, ..) = abandoned();
    for (chain_id, hub) in [(CHAIN_ID + 1, HUB), (CHAIN_ID, [9; 20])] {
        let config = piecework_core::journal::Config {
            chain_id,
            hub,
            ..config(&folder.0, SEGMENT)
        };
        let error = Ledger::open(&config, Some(SEED)).err().unwrap();
        assert_eq!(error.code, Code::LedgerForeign);
    }
    open(&folder.0, SEGMENT).close().unwrap();
    let config = piecework_core::journal::Config {
        chain_id: 1,
        ..config(&folder.0, SEGMENT)
    };
    assert_eq!(
        Ledger::open(&config, None).err().unwrap().code,
        Code::LedgerForeign
    );
}

#[test]
fn one_owner_at_a_time() {
    let folder = Folder::new();
    let ledger = open(&folder.0, SEGMENT);
    assert_eq!(
        try_open(&folder.0, SEGMENT).err().unwrap().code,
        Code::LedgerLocked
    );
    ledger.close().unwrap();
    let again = open(&folder.0, SEGMENT);
    assert_eq!(
        try_open(&folder.0, SEGMENT).err().unwrap().code,
        Code::LedgerLocked
    );
    drop(again);
    open(&folder.0, SEGMENT);
}

#[test]
fn a_batch_too_large_for_a_segment_is_refused_command_by_command() {
    let folder = Folder::new();
    let ledger = ready(&folder, 4096);
    let many = vec![grant(0, 1, u128::from(u32::MAX)); 1000];
    let names = commit(&ledger, &many);
    let accepted = names.iter().take_while(|name| **name == "ok").count();
    assert!(accepted > 100 && accepted < 1000, "{accepted}");
    assert!(names[accepted..].iter().all(|name| *name == "no_space"));
    let hash = ledger.state_hash().unwrap();
    drop(ledger);
    let ledger = open(&folder.0, 4096);
    assert_eq!(ledger.state_hash().unwrap(), hash);
    assert_eq!(one(&ledger, grant(0, 1, u128::from(u32::MAX))), "ok");
}

#[test]
fn large_segments_are_allocated_beside_the_commits() {
    // Above a MiB a thread allocates; every frame here takes a twentieth of a segment.
    const LARGE: u64 = 2 << 20;
    let folder = Folder::new();
    let value = vec![7; 100 << 10];
    let size = value.len() as u32;
    let fill = |ledger: &Ledger, keys: std::ops::Range<u8>| {
        for key in keys {
            let bytes = ledger
                .commit(&note(1, key, Some((0, size))), &value)
                .unwrap();
            assert_eq!(outcomes(&bytes), ["ok"], "note {key}");
        }
        ledger.state_hash().unwrap()
    };
    let segments = || {
        let files = std::fs::read_dir(&folder.0).unwrap();
        files
            .filter(|file| {
                let name = file.as_ref().unwrap().file_name();
                name.to_string_lossy().starts_with("seg-")
            })
            .count()
    };
    // Dropped in the middle of a segment, while the next one may still be in the making.
    let ledger = open(&folder.0, LARGE);
    let mut hash = fill(&ledger, 0..12);
    assert_eq!(segments(), 1);
    drop(ledger);
    for keys in [12..70, 70..101] {
        let (ledger, summary) = try_open(&folder.0, LARGE).unwrap();
        assert_eq!(ledger.state_hash().unwrap(), hash);
        assert_eq!(summary.cut_bytes, 0);
        hash = fill(&ledger, keys);
    }
    assert!(segments() >= 5, "{}", segments());
    assert_eq!(open(&folder.0, LARGE).state_hash().unwrap(), hash);
}
