use super::*;

/// A header with the given type and name, checksummed.
fn header(kind: u8, name: &str, size: u64) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n);
        body.extend(format!("{} {key}=", length.unwrap()).bytes());
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    let mut all = header(b'x', "pax", body.len() as u64);
    all.extend(padded(body));
    all
}

fn read_all(bytes: &[u8]) -> Result<Vec<Entry>, ArchiveError> {
    let mut archive = Archive::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        entries.push(entry);
    }
    Ok(entries)
}

#[test]
fn pax_values_may_hold_any_byte() {
    let capability = b"\x01\0\0\x02\n\x20\0\0=\n\0\0";
    let mut bytes = pax(&[
        ("SCHILY.xattr.security.capability", capability),
        ("path", "a very/long name".as_bytes()),
        ("mtime", b"-1.25"),
        ("uid", b"4000000000"),
    ]);
    bytes.extend(header(b'0', "short", 0));
    let entries = read_all(&bytes).unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].path, b"a very/long name");
    assert_eq!(entries[0].xattrs, [(b"security.capability".to_vec(), capability.to_vec())]);
    assert_eq!(entries[0].mtime, (-2, 750_000_000));
    assert_eq!(entries[0].uid, 4_000_000_000);
}

#[test]
fn pax_size_wins_over_the_header() {
    let mut bytes = pax(&[("size", b"3")]);
    bytes.extend(header(b'0', "f", 0));
    bytes.extend(padded(b"abc".to_vec()));
    bytes.extend(header(b'0', "g", 0));
    let names: Vec<_> = read_all(&bytes).unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(names, [b"f", b"g"]);
}

#[test]
fn an_empty_pax_value_takes_an_earlier_one_back() {
    let mut bytes = pax(&[("path", b"other"), ("path", b"")]);
    bytes.extend(header(b'0', "own", 0));
    assert_eq!(read_all(&bytes).unwrap()[0].path, b"own");
}

#[test]
fn gnu_long_names_are_read() {
    let long = "x/".repeat(200);
    let mut bytes = header(b'L', "././@LongLink", 401);
    bytes.extend(padded([long.as_bytes(), b"\0"].concat()));
    bytes.extend(header(b'5', "x", 0));
    let entries = read_all(&bytes).unwrap();
    assert_eq!(entries[0].path, long.as_bytes());
    assert_eq!(entries[0].kind, Kind::Dir);
}

#[test]
fn extended_headers_of_any_size_stay_out_of_memory() {
    for kind in [b'x', b'L', b'K'] {
        let error = read_all(&header(kind, "big", 1 << 32)).unwrap_err();
        assert!(error.to_string().contains("extended header"), "{error}");
    }
}

#[test]
fn damaged_streams_are_told_from_ended_ones() {
    let mut good = header(b'0', "f", 600);
    good.extend(vec![7; 1024]);
    good.extend(vec![0; 1024]);
    assert_eq!(read_all(&good).unwrap().len(), 1);
    assert_eq!(read_all(&good[..512 + 1024]).unwrap().len(), 1, "an end without marker");
    for cut in [100, 700, 1100, 1500] {
        match read_all(&good[..cut]).unwrap_err() {
            ArchiveError::Read(e) => assert_eq!(e.kind(), io::ErrorKind::UnexpectedEof),
            other => panic!("{cut}: {other}"),
        }
    }
    let mut flipped = good.clone();
    flipped[0] ^= 1;
    assert!(matches!(read_all(&flipped), Err(ArchiveError::Malformed { entry: 1, .. })));
    let mut hidden = good[..1536].to_vec();
    hidden.extend(vec![0; 512]);
    hidden.extend(header(b'0', "hidden", 0));
    assert!(matches!(read_all(&hidden), Err(ArchiveError::Malformed { .. })));
}

#[test]
fn an_extended_header_has_to_describe_something() {
    assert!(matches!(read_all(&pax(&[("path", b"x")])), Err(ArchiveError::Malformed { .. })));
}

#[test]
fn sparse_files_are_refused_by_name() {
    let mut by_pax = pax(&[("GNU.sparse.major", b"1"), ("path", b"disk.img")]);
    by_pax.extend(header(b'0', "x", 0));
    for bytes in [by_pax, header(b'S', "disk.img", 0)] {
        let error = read_all(&bytes).unwrap_err().to_string();
        assert_eq!(error, "a sparse file is not supported in a layer: disk.img");
    }
}

#[test]
fn only_files_have_content() {
    let mut bytes = header(b'5', "dir", 512);
    bytes.extend(header(b'0', "f", 0));
    assert_eq!(read_all(&bytes).unwrap().len(), 2);
}

proptest::proptest! {
    /// Whatever comes, reading ends with entries or an error.
    #[test]
    fn no_bytes_make_it_panic(
        blocks in proptest::collection::vec(proptest::collection::vec(proptest::num::u8::ANY, 0..700), 0..4),
        kinds in proptest::collection::vec(proptest::sample::select(b"0125xgLKS37\0".to_vec()), 4),
    ) {
        let mut bytes = Vec::new();
        for (block, kind) in blocks.into_iter().zip(kinds) {
            bytes.extend(header(kind, "n", block.len() as u64));
            bytes.extend(padded(block));
        }
        let _ = read_all(&bytes);
    }

    #[test]
    fn times_round_down(seconds in -1_000_000i64..1_000_000, fraction in 0u32..1000) {
        let text = format!("{seconds}.{fraction:03}");
        let (sec, nsec) = parse_time(&text).unwrap();
        let expected = if seconds < 0 { seconds * 1000 - i64::from(fraction) } else { seconds * 1000 + i64::from(fraction) };
        proptest::prop_assert_eq!(sec * 1000 + nsec / 1_000_000, expected);
        proptest::prop_assert!((0..1_000_000_000).contains(&nsec));
    }
}
