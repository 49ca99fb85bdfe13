//! What was packed comes back at every place, and garbage is an error.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
use super::*;
use proptest::prelude::*;

const BOTH: [Compression; 2] = [Compression::Zstd, Compression::Gzip];

fn packed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    pack(compression, &mut &*bytes, &mut packed, || Ok(())).unwrap();
    packed
}

fn unpacked(compression: Compression, bytes: &[u8]) -> io::Result<Unpacked> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    Unpacked::over(file, compression)
}

/// Text that packs, and noise that does not.
fn text(length: usize) -> Vec<u8> {
    let mut seed = 1u64;
    (0..length)
        .map(|index| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if (index / 300_000) % 2 == 0 { b'a' + (index % 7) as u8 } else { (seed >> 56) as u8 }
        })
        .collect()
}

#[test]
fn every_place_can_be_read_without_its_beginning() {
    for compression in BOTH {
        for length in [0, 1, FRAME_BYTES - 1, FRAME_BYTES, 3 * FRAME_BYTES + 17] {
            let bytes = text(length);
            let mut file = unpacked(compression, &packed(compression, &bytes)).unwrap();
            assert_eq!(file.length(), length as u64);
            for from in [0, 1, FRAME_BYTES - 1, FRAME_BYTES, 2 * FRAME_BYTES + 5, length] {
                let from = from.min(length);
                let mut part = vec![0; 100_000.min(length - from)];
                file.seek(SeekFrom::Start(from as u64)).unwrap();
                assert_eq!(read_up_to(&mut file, &mut part).unwrap(), part.len());
                assert!(part == bytes[from..from + part.len()], "{compression:?} {length} {from}");
            }
            file.seek(SeekFrom::Start(length as u64 + 5)).unwrap();
            assert_eq!(file.read(&mut [0; 8]).unwrap(), 0);
        }
    }
}

#[test]
fn the_usual_tools_read_it() {
    let bytes = text(2 * FRAME_BYTES + 3);
    let whole = zstd::stream::decode_all(&packed(Compression::Zstd, &bytes)[..]).unwrap();
    assert!(whole == bytes);
    let mut whole = Vec::new();
    flate2::read::MultiGzDecoder::new(&packed(Compression::Gzip, &bytes)[..]).read_to_end(&mut whole).unwrap();
    assert!(whole == bytes);
}

#[test]
fn a_frame_that_would_fill_the_memory_is_an_error() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let mut file = bomb.clone();
    let entry = [(bomb.len() as u32).to_le_bytes(), (64u32 << 20).to_le_bytes()].concat();
    for part in [&0x184D_2A5E_u32.to_le_bytes()[..], &17u32.to_le_bytes(), &entry, &1u32.to_le_bytes(), &[0]] {
        file.extend(part);
    }
    file.extend(0x8F92_EAB1_u32.to_le_bytes());
    assert_eq!(unpacked(Compression::Zstd, &file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    // The same with a table that lies.
    let at = bomb.len() + 12;
    file[at..at + 4].copy_from_slice(&1000u32.to_le_bytes());
    let mut lying = unpacked(Compression::Zstd, &file).unwrap();
    assert_eq!(lying.read(&mut [0; 8]).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

proptest! {
    #[test]
    fn neither_garbage_nor_a_cut_or_changed_file_is_more_than_an_error(
        garbage in prop::collection::vec(any::<u8>(), 0..300),
        cut in 0usize..4000,
        change in any::<(u16, u8)>(),
    ) {
        let bytes = text(3000);
        for compression in BOTH {
            let _ = unpacked(compression, &garbage).map(|mut file| file.read_to_end(&mut Vec::new()));
            let mut file = packed(compression, &bytes);
            file.truncate(cut.max(1));
            let at = usize::from(change.0) % file.len();
            file[at] ^= change.1;
            if let Ok(mut file) = unpacked(compression, &file) {
                let mut whole = Vec::new();
                if file.read_to_end(&mut whole).is_ok() {
                    // A flip that is not noticed is one in what nobody reads, such as the time in gzip's head.
                    prop_assert!(whole == bytes);
                }
            }
        }
    }
}
