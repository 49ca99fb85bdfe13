//! What a receiver says: a small reader of MessagePack that believes nothing.
//!
//! It makes a value only of bytes that are there, and goes no deeper than the protocol does.

use rmp::Marker;

/// How deep arrays and maps may lie within each other: the greeting has a map in an array.
const DEPTH_MAX: u8 = 4;

/// A value, as far as the protocol has such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    /// Text or bytes: old receivers do not tell them apart.
    Text(Vec<u8>),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// Anything else.
    Other,
}

impl Value {
    /// What a map has under a name.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let Value::Map(pairs) = self else { return None };
        pairs.iter().find_map(|(key, value)| (key.text() == Some(name.as_bytes())).then_some(value))
    }

    pub(super) fn text(&self) -> Option<&[u8]> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }
}

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unpacked {
    /// A value of so many bytes.
    Value(Value, usize),
    /// The beginning of one, as far as it can be seen.
    Incomplete,
    /// None that this protocol has.
    Garbage,
}

pub(super) fn first(bytes: &[u8]) -> Unpacked {
    let mut rest = bytes;
    match value(&mut rest, DEPTH_MAX) {
        Ok(value) => Unpacked::Value(value, bytes.len() - rest.len()),
        Err(Broken::Off) => Unpacked::Incomplete,
        Err(Broken::Wrong) => Unpacked::Garbage,
    }
}

enum Broken {
    Off,
    Wrong,
}

fn value(rest: &mut &[u8], depth: u8) -> Result<Value, Broken> {
    let [marker] = take(rest)?;
    Ok(match Marker::from_u8(marker) {
        Marker::Null | Marker::FixPos(_) | Marker::FixNeg(_) => Value::Other,
        Marker::True => Value::Bool(true),
        Marker::False => Value::Bool(false),
        Marker::FixStr(length) => text(rest, length.into())?,
        Marker::Str8 | Marker::Bin8 => {
            let length = sized::<1>(rest)?;
            text(rest, length)?
        }
        Marker::Str16 | Marker::Bin16 => {
            let length = sized::<2>(rest)?;
            text(rest, length)?
        }
        Marker::Str32 | Marker::Bin32 => {
            let length = sized::<4>(rest)?;
            text(rest, length)?
        }
        Marker::FixArray(count) => array(rest, count.into(), depth)?,
        Marker::Array16 => {
            let length = sized::<2>(rest)?;
            array(rest, length, depth)?
        }
        Marker::FixMap(count) => map(rest, count.into(), depth)?,
        Marker::Map16 => {
            let length = sized::<2>(rest)?;
            map(rest, length, depth)?
        }
        Marker::U8 | Marker::I8 => other(take::<1>(rest)?),
        Marker::U16 | Marker::I16 => other(take::<2>(rest)?),
        Marker::U32 | Marker::I32 | Marker::F32 => other(take::<4>(rest)?),
        Marker::U64 | Marker::I64 | Marker::F64 => other(take::<8>(rest)?),
        Marker::Array32
        | Marker::Map32
        | Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32
        | Marker::Reserved => return Err(Broken::Wrong),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Broken> {
    let (taken, tail) = rest.split_first_chunk().ok_or(Broken::Off)?;
    *rest = tail;
    Ok(*taken)
}

fn sized<const N: usize>(rest: &mut &[u8]) -> Result<usize, Broken> {
    Ok(take::<N>(rest)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
}

fn other<const N: usize>(_: [u8; N]) -> Value {
    Value::Other
}

fn text(rest: &mut &[u8], length: usize) -> Result<Value, Broken> {
    if length > super::REPLY_BYTES_MAX {
        return Err(Broken::Wrong);
    }
    let (text, tail) = rest.split_at_checked(length).ok_or(Broken::Off)?;
    *rest = tail;
    Ok(Value::Text(text.to_vec()))
}

fn array(rest: &mut &[u8], count: usize, depth: u8) -> Result<Value, Broken> {
    let depth = depth.checked_sub(1).ok_or(Broken::Wrong)?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(value(rest, depth)?);
    }
    Ok(Value::Array(values))
}

fn map(rest: &mut &[u8], count: usize, depth: u8) -> Result<Value, Broken> {
    let depth = depth.checked_sub(1).ok_or(Broken::Wrong)?;
    let mut pairs = Vec::new();
    for _ in 0..count {
        let key = value(rest, depth)?;
        pairs.push((key, value(rest, depth)?));
    }
    Ok(Value::Map(pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &[u8]) -> Value {
        Value::Text(text.to_vec())
    }

    #[test]
    fn an_acknowledgement_is_read_whole_or_not_at_all() {
        let bytes = b"\x82\xa3ack\xc4\x02ab\xa1n\xcd\x01\x02rest";
        let wanted = Value::Map(vec![(text(b"ack"), text(b"ab")), (text(b"n"), Value::Other)]);
        let end = bytes.len() - 4;
        assert_eq!(first(bytes), Unpacked::Value(wanted.clone(), end));
        assert_eq!(wanted.get("ack"), Some(&text(b"ab")));
        for cut in 0..end {
            assert_eq!(first(&bytes[..cut]), Unpacked::Incomplete, "{cut}");
        }
    }

    #[test]
    fn what_the_protocol_does_not_have_is_garbage() {
        for bad in [&b"\xc1"[..], b"\xd7\0", b"\xdb\x7f\0\0\0", b"\x91\x91\x91\x91\x91\x91"] {
            assert_eq!(first(bad), Unpacked::Garbage, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_or_read_behind_their_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Unpacked::Value(_, length) = first(&bytes) {
                prop_assert!((1..=bytes.len()).contains(&length));
            }
        }
    }
}
