//! Bytes and texts that lie about lengths, counts and nesting: refused at once, without memory
//! and without stack.

use std::time::{Duration, Instant};

use bytes::Bytes;
use memod_protocol::handshake::{Hello, Welcome};
use memod_protocol::wire::{Decode, decode, decode_record};
use memod_protocol::{
    CallIdentity, EntryDetail, InterfaceText, Literal, LiteralType, Put, RequestHeader,
    ResponseHeader, RunClaim, Stats, json, limits,
};

const DEEP: usize = 100_000;
/// Far more than any test here needs, far less than a lie about a length asks for.
const ADDRESS_SPACE_BYTES: u64 = 1024 * 1024 * 1024;

/// The most address space that this process ever had, in bytes.
fn address_space_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() * 1024
}

/// Runs something that must be over at once and must not reserve what hostile bytes claim.
fn at_once<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let (start, before) = (Instant::now(), address_space_peak());
    let result = run();
    let (took, grown) = (start.elapsed(), address_space_peak() - before);
    assert!(took < Duration::from_secs(5), "{what} took {took:?}");
    assert!(grown < ADDRESS_SPACE_BYTES, "{what} took {grown} bytes of address space");
    result
}

/// Counts and lengths as varints, some of which wrap around when multiplied.
fn claims() -> Vec<Vec<u8>> {
    let counts = [1_u64 << 31, (1 << 32) + 1, 1 << 58, 1 << 60, (1 << 63) + 1, u64::MAX];
    counts.map(|count| [&[0xfd], &count.to_le_bytes()[..]].concat()).to_vec()
}

fn refuses<T: Decode<()>>(what: &str, before: &[u8], behind: usize) {
    for claim in claims() {
        let bytes = [before, &claim, &vec![0; behind]].concat();
        at_once(what, || {
            assert!(decode::<T>(&bytes).is_err(), "{what} is accepted with {claim:?}");
            assert!(decode_record::<T>(&bytes).is_err(), "{what} is accepted with {claim:?}");
        });
    }
}

#[test]
fn claims_of_many_elements_are_refused() {
    for behind in [0, 100, 100_000] {
        refuses::<Hello>("a greeting's versions", b"memod\r\n\x1a", behind);
        refuses::<Hello>("a greeting's client", b"memod\r\n\x1a\0\0", behind);
        refuses::<Welcome>("a refusal's versions", b"\x01memod\r\n\x1a", behind);
        refuses::<RequestHeader>("a lookup's project", &[1, 0], behind);
        refuses::<RequestHeader>("a list's cursor", &[1, 7, 0, 0, 0, 0, 0, 9, 1], behind);
        refuses::<RequestHeader>("an invalidation's keys", &[1, 8, 0], behind);
        refuses::<RequestHeader>("a read's output", &[&[1, 6][..], &[7; 32]].concat(), behind);
        refuses::<ResponseHeader>("a listing's rows", &[1, 6], behind);
        refuses::<ResponseHeader>("an error's message", &[1, 12, 0], behind);
        refuses::<InterfaceText>("an interface's inputs", &[], behind);
        refuses::<InterfaceText>("an interface's outputs", &[0], behind);
        refuses::<RunClaim>("a claim's version", &[0, 1], behind);
        refuses::<Stats>("the tasks of the counters", &[0; 13], behind);
        let head = call_head();
        refuses::<CallIdentity>("a call's inputs", &head, behind);
        refuses::<Put>("a put's outputs", &[&head[..], &[0, 0, 0]].concat(), behind);
        refuses::<EntryDetail>(
            "an entry's inputs",
            &[&[7; 32], &head[..], &[0, 0]].concat(),
            behind,
        );
    }
}

/// A call on the wire up to its inputs.
fn call_head() -> Vec<u8> {
    [&[1, b'p', 1, b'd', 1, b't', 1, b'1'][..], &[7; 32]].concat()
}

#[test]
fn claims_about_leases_are_refused() {
    for behind in [0, 100, 100_000] {
        let asked = |variant: u8, rest: &[u8]| [&[1, variant][..], &call_head(), rest].concat();
        refuses::<RequestHeader>("a claim's project", &[1, 12], behind);
        refuses::<RequestHeader>("a claim's inputs", &asked(12, &[]), behind);
        refuses::<RequestHeader>("a claim's owner", &asked(12, &[0, 0, 1, 1]), behind);
        refuses::<RequestHeader>("a reservation's owner", &asked(13, &[0]), behind);
        refuses::<RequestHeader>("a release's owner", &asked(14, &[0, 1]), behind);
        let told = |variant: u8, rest: &[u8]| [&[1, variant][..], &[7; 32], rest].concat();
        refuses::<ResponseHeader>("a lease's miss", &told(13, &[0, 0, 0, 1]), behind);
        refuses::<ResponseHeader>("a lease's holder", &told(13, &[0, 0, 0, 0, 1]), behind);
        refuses::<ResponseHeader>("a pending holder", &told(14, &[1]), behind);
        refuses::<ResponseHeader>("a holder's program", &told(14, &[0, 0, 0, 1]), behind);
        refuses::<ResponseHeader>("a reservation's holder", &told(15, &[1, 1]), behind);
    }
}

#[test]
fn claims_in_reports_are_refused() {
    for behind in [0, 100, 100_000] {
        let why = [&[1, 15][..], &call_head(), &[0, 0]].concat();
        refuses::<RequestHeader>("a question's inputs", &why, behind);
        refuses::<RequestHeader>("a question's outputs", &[&why[..], &[0]].concat(), behind);
        refuses::<RequestHeader>("a query's project", &[1, 16, 1], behind);
        refuses::<RequestHeader>("a query's task", &[1, 16, 0, 1], behind);
        let explained = [&[1, 17][..], &[7; 32], &[0]].concat();
        refuses::<ResponseHeader>("the nearest", &explained, behind);
        let differs = [&explained[..], &[1], &[7; 32], &[0]].concat();
        refuses::<ResponseHeader>("the differences", &differs, behind);
        refuses::<ResponseHeader>("a log's rows", &[1, 18], behind);
        refuses::<ResponseHeader>("a row's program", &[1, 18, 1, 0, 0, 0, 0, 1], behind);
        refuses::<ResponseHeader>("counters by scope", &[1, 19], behind);
        refuses::<ResponseHeader>("counters by user", &[1, 19, 0], behind);
        refuses::<ResponseHeader>("the leases", &[1, 27], behind);
        let row = [&[1, 27, 1][..], &[7; 32], &[1, b'p', 1, b'd']].concat();
        refuses::<ResponseHeader>("a lease's task", &row, behind);
    }
}

#[test]
fn claims_in_upkeep_are_refused() {
    for behind in [0, 100, 100_000] {
        let import = [&[1, 21][..], &call_head(), &[0, 0, 0]].concat();
        refuses::<RequestHeader>("an import's outputs", &import, behind);
        let program = [&import[..], &[0; 8], &[0, 0, 1]].concat();
        refuses::<RequestHeader>("an import's program", &program, behind);
        refuses::<ResponseHeader>("the budgets", &[1, 20], behind);
        refuses::<ResponseHeader>("a budget's project", &[1, 20, 1, 1], behind);
        refuses::<ResponseHeader>("the policy", &[1, 20, 0, 0, 0, 0, 0, 0], behind);
        refuses::<ResponseHeader>("the problems", &[1, 21, 0, 0, 0, 0], behind);
        refuses::<RequestHeader>("a board's project", &[1, 23], behind);
        refuses::<RequestHeader>("a board's hits", &[1, 24, 1, b'p', 1, b'd'], behind);
        refuses::<ResponseHeader>("what is wrong", &[1, 21, 0, 0, 0, 0, 1, 0, 0], behind);
    }
}

#[test]
fn claims_in_batches_are_refused() {
    for behind in [0, 100, 100_000] {
        refuses::<RequestHeader>("the lookups", &[1, 28], behind);
        refuses::<RequestHeader>("a project of many", &[1, 28, 1], behind);
        let inputs = [&[1, 28, 2][..], &call_head(), &[0, 0], &call_head()].concat();
        refuses::<RequestHeader>("a call's inputs of many", &inputs, behind);
        refuses::<ResponseHeader>("the answers", &[1, 26], behind);
        let hit = [&[1, 26, 1, 0][..], &[7; 32], &[0]].concat();
        refuses::<ResponseHeader>("a hit's outputs of many", &hit, behind);
        let miss = [&[1, 26, 2, 3, 1][..], &[7; 32], &[0, 0, 0, 1]].concat();
        refuses::<ResponseHeader>("a detail of many", &miss, behind);
        refuses::<ResponseHeader>("a message of many", &[1, 26, 1, 2, 0], behind);
    }
}

/// Where each of the tests above puts its lie, a small honest number is taken.
#[test]
fn what_is_refused_is_the_claim_alone() {
    let decodes = |bytes: &[u8]| assert!(decode::<RequestHeader>(bytes).is_ok(), "{bytes:02x?}");
    let asked = |variant: u8, rest: &[u8]| [&[1, variant][..], &call_head(), rest].concat();
    decodes(&asked(12, &[0, 0, 1, 1, 1, b'o', 2, 0]));
    decodes(&asked(13, &[0, 1, b'o', 2]));
    decodes(&asked(14, &[0, 1, 1, b'o']));
    decodes(&asked(15, &[0, 0, 0, 0, 5]));
    decodes(&[1, 16, 0, 1, 1, b't', 0, 0, 0, 0, 5, 0]);
    let program = [0, 0, 1, 1, b'p', 0, 0, 0, 0, 0, 0, 0];
    decodes(&asked(21, &[&[0; 11][..], &program].concat()));
    decodes(&[1, 23, 1, b'p', 1, b'd']);
    decodes(&[&[1, 28, 2][..], &call_head(), &[0, 0], &call_head(), &[0, 0]].concat());
    decodes(&[&[1, 24, 1, b'p', 1, b'd', 1][..], &[7; 32], &[1, 0, 0]].concat());
    let decodes = |bytes: &[u8]| assert!(decode::<ResponseHeader>(bytes).is_ok(), "{bytes:02x?}");
    let told = |variant: u8, rest: &[u8]| [&[1, variant][..], &[7; 32], rest].concat();
    decodes(&told(13, &[0, 0, 0, 1, 1, b'd', 0, 0, 0, 0, 0, 0]));
    decodes(&told(13, &[0, 0, 0, 0, 1, 1, b'o', 0, 0, 0, 0, 0]));
    decodes(&told(14, &[1, 1, b'o', 0, 0, 0, 0, 0, 1]));
    decodes(&told(14, &[0, 0, 0, 1, 1, b'p', 0, 0, 1]));
    decodes(&told(15, &[1, 1, 1, b'o', 0, 0, 0, 0, 0]));
    decodes(&[&told(17, &[0, 1])[..], &[7; 32], &[0, 1, 0, 0, 0, 0]].concat());
    decodes(&[1, 18, 1, 0, 0, 0, 0, 1, 1, b'p', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    decodes(&[1, 19, 1, 1, b'p', 1, b'd', 0, 0, 0, 1, 0, 0, 0, 0]);
    decodes(&[1, 20, 1, 1, 1, b'p', 1, b'd', 0, 0, 0, 0, 0, 0, 0, 0, 1, b'c', 0, 0, 0, 0, 0]);
    decodes(&[1, 21, 0, 0, 0, 0, 1, 0, 0, 1, b'w', 0]);
    decodes(&[&[1, 26, 2, 3, 1][..], &[7; 32], &[0, 0, 0, 1, 1, b'd']].concat());
    decodes(&[&[1, 26, 1, 0][..], &[7; 32], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]].concat());
    decodes(&[1, 26, 1, 2, 0, 1, b'm', 0]);
    decodes(
        &[&[1, 27, 1][..], &[7; 32], &[1, b'p', 1, b'd', 1, b't', 0, 0, 0, 0, 0, 0, 0]].concat(),
    );
}

/// A number that no variant has, where a kind of something is expected.
#[test]
fn unknown_kinds_are_refused() {
    let refuses = |bytes: &[u8]| {
        let error = decode::<ResponseHeader>(bytes).unwrap_err();
        assert!(error.to_string().contains("no kind of message"), "{error}");
    };
    let verb = [1, 18, 1, 0, 0, 0, 0, 0, 11];
    refuses(&verb);
    refuses(&[1, 18, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    refuses(&[&[1, 17][..], &[7; 32], &[0, 1], &[7; 32], &[0, 1, 4]].concat());
    refuses(&[1, 20, 1, 3]);
    refuses(&[1, 26, 1, 5]);
    refuses(&[1, 28]);
    assert!(decode::<RequestHeader>(&[1, 30]).is_err());
    assert!(decode::<RequestHeader>(&[1, 19, 2]).is_err());
    assert!(decode::<RequestHeader>(&[1, 16, 0, 0, 1, 11, 0, 0, 0, 0, 0]).is_err());
    // A boolean of a reservation, and of a release.
    assert!(decode::<ResponseHeader>(&[1, 16, 2]).is_err());
    assert!(decode::<ResponseHeader>(&[&[1, 15][..], &[7; 32], &[2]].concat()).is_err());
}

/// A header cannot hold more than its limit in memory, whatever it is on the wire.
#[test]
fn a_list_of_tiny_elements_does_not_grow_beyond_the_limit() {
    let count = 200_000_u32;
    let bytes = [&[0xfc], &count.to_le_bytes()[..], &vec![0; 2 * count as usize + 1]].concat();
    assert!(bytes.len() < limits::HEADER_BYTES_MAX as usize);
    at_once("an interface of empty names", || assert!(decode::<InterfaceText>(&bytes).is_err()));
    let users =
        [&[1, 19, 0, 0xfc][..], &count.to_le_bytes(), &vec![0; 4 * count as usize]].concat();
    assert!(users.len() < limits::HEADER_BYTES_MAX as usize);
    at_once("counters of many users", || assert!(decode::<ResponseHeader>(&users).is_err()));
}

#[test]
fn every_first_byte_is_looked_at() {
    for first in 0..=u8::MAX {
        for bytes in [vec![first], vec![first; 9], vec![first; 300]] {
            at_once("noise", || {
                drop(decode::<RequestHeader>(&bytes));
                drop(decode::<ResponseHeader>(&bytes));
                drop(decode::<Welcome>(&bytes));
                drop(Literal::from_blob(
                    &LiteralType::List(Box::new(LiteralType::None)),
                    &bytes.into(),
                ));
            });
        }
    }
}

#[test]
fn deep_texts_of_types_are_refused() {
    let starts = ["list<", "map<", "optional<", "union<", "struct{a:", "union<none|list<"];
    for start in starts {
        let deep = start.repeat(DEEP);
        at_once(start, || assert!(deep.parse::<LiteralType>().is_err()));
        // Short enough to be looked into: as deep as the longest text can be.
        let short = start.repeat(limits::TYPE_BYTES_MAX / start.len());
        let error = at_once(start, || short.parse::<LiteralType>().unwrap_err());
        assert!(error.problem.contains("nested deeper"), "{error}");
    }
    let allowed = format!("{}none{}", "list<".repeat(99), ">".repeat(99));
    let too_deep = format!("{}none{}", "list<".repeat(100), ">".repeat(100));
    assert!(allowed.parse::<LiteralType>().is_ok());
    assert!(too_deep.parse::<LiteralType>().is_err());
    let long = format!("enum({})", "x".repeat(limits::TYPE_BYTES_MAX));
    assert!(long.parse::<LiteralType>().unwrap_err().problem.contains("bytes long"));
}

fn list_of_none() -> LiteralType {
    "list<none>".parse().unwrap()
}

#[test]
fn deep_blobs_are_refused() {
    let one = 1_u64.to_le_bytes();
    let lists = [&[0x09][..], &one].concat();
    let maps = [&[0x0a][..], &one, &one, b"k"].concat();
    let structs = [&[0x0b][..], &one, &one, b"k"].concat();
    let hashes = [&[0x0f][..], &one, b"h"].concat();
    for level in [lists, maps, structs, hashes] {
        let mut blob = level.repeat(DEEP);
        blob.push(0);
        let error = at_once("a blob", || {
            Literal::from_blob(&list_of_none(), &Bytes::from(blob)).unwrap_err()
        });
        assert!(error.problem.contains("nested deeper"), "{error}");
    }
}

#[test]
fn blobs_that_lie_about_counts_are_refused() {
    for tag in [0x04, 0x05, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f] {
        for count in [1_u64 << 31, 1 << 60, u64::MAX] {
            for behind in [0, 1000] {
                let blob =
                    [&[0x09, 1, 0, 0, 0, 0, 0, 0, 0, tag][..], &count.to_le_bytes()].concat();
                let blob = Bytes::from([blob, vec![0; behind]].concat());
                let result = at_once("a blob", || Literal::from_blob(&list_of_none(), &blob));
                assert!(result.is_err(), "tag {tag:02x} with {count}");
            }
        }
    }
}

#[test]
fn deep_json_is_refused() {
    let objects = "{\"a\":".repeat(DEEP);
    let hashes = "{\"$hash\":\"h\",\"value\":".repeat(DEEP);
    for text in ["[".repeat(DEEP), objects, hashes, "[{\"a\":".repeat(DEEP)] {
        let error = at_once("JSON", || json::parse(&text).unwrap_err());
        assert!(error.problem.contains("nested deeper"), "{error}");
    }
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(json::parse(&nested(limits::JSON_NESTING_MAX)).is_ok());
    let error = json::parse(&nested(limits::JSON_NESTING_MAX + 1)).unwrap_err();
    assert!(error.problem.contains("nested deeper"), "{error}");
}

/// JSON that did not come out of our parser, and may be deeper.
#[test]
fn deep_json_values_are_refused() {
    let mut value = serde_json::Value::Null;
    for depth in 0..1000 {
        value = match depth % 3 {
            0 => serde_json::json!([value]),
            1 => serde_json::json!({"$hash": "h", "value": value}),
            _ => serde_json::json!({"a": value}),
        };
    }
    let error = json::infer(&value).unwrap_err();
    assert_eq!(error.problem, "nested deeper than 120");
    let mut of = LiteralType::None;
    for depth in 0..1000 {
        of = match depth % 3 {
            0 => LiteralType::List(Box::new(of)),
            1 => of,
            _ => LiteralType::Struct([("a".to_owned(), of)].into()),
        };
    }
    let error = json::literal(&of, &value).unwrap_err();
    assert_eq!(error.problem, "nested deeper than 120");
}

/// Unions in unions could be tried in more ways than there is time for.
#[test]
fn unions_are_chosen_from_in_time() {
    let (mut of, mut value) = ("integer".to_owned(), serde_json::json!("no integer"));
    for depth in 0..45 {
        of = format!("union<list<{of}>|map<{of}>>");
        if of.len() > limits::TYPE_BYTES_MAX / 3 {
            break;
        }
        value = if depth % 2 == 0 {
            serde_json::json!([value])
        } else {
            serde_json::json!([{"$type": of, "value": [value]}])
        };
    }
    at_once("a union", || {
        let of = of.parse().unwrap();
        assert!(json::literal(&of, &value).is_err());
    });
    let (mut of, mut value) = ("integer".to_owned(), serde_json::json!("no integer"));
    for _ in 0..45 {
        of = format!("union<list<{of}>|none>");
        value = serde_json::json!([value]);
    }
    at_once("a deep union", || {
        let of = of.parse().unwrap();
        assert!(json::literal(&of, &value).is_err());
    });
    let (mut of, mut value) = ("integer".to_owned(), serde_json::json!("no integer"));
    for _ in 0..45 {
        value = serde_json::json!([{"$type": of, "value": value}]);
        of = format!("union<list<{of}>|none>");
    }
    at_once("a deep union of chosen types", || {
        let of = of.parse().unwrap();
        let error = json::literal(&of, &value).unwrap_err().to_string();
        assert!(error.contains("no decimal integer"), "{error}");
    });
}

/// A value that was built too deep is refused before it is stored, for it could not be read back.
#[test]
fn a_value_nested_too_deep_has_neither_blob_nor_key() {
    let (mut of, mut value) = (LiteralType::None, Literal::None);
    for _ in 0..limits::NESTING_MAX - 1 {
        (of, value) = (LiteralType::List(Box::new(of)), Literal::List(vec![value]));
    }
    let blob = value.to_blob(&of).unwrap();
    assert_eq!(Literal::from_blob(&of, &blob).unwrap(), value);
    (of, value) = (LiteralType::List(Box::new(of)), Literal::List(vec![value]));
    assert!(value.to_blob(&of).unwrap_err().problem.contains("nested deeper"));
    let interface =
        memod_protocol::Interface { inputs: [("x".into(), of)].into(), ..Default::default() };
    assert!(interface.check().unwrap_err().problem.contains("nested deeper"));
}
