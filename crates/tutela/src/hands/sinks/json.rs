//! A record as the way "http" sends it: as in a file of JSON records, with its id.

use tutela_logs::record::Record;

/// Writes a record behind `out`, in one line without its newline. Its id is in `tutela_id`: `api-0:FILE:OFFSET`, the same
/// each time that it is sent.
pub fn write(record: &Record, out: &mut Vec<u8>) {
    let begun = out.len();
    record.put_json(out);
    if out.last() == Some(&b'\n') {
        out.pop();
    }
    let id = format!(
        "\"tutela_id\":\"{}-{}:{}:{}\"",
        record.owner.service, record.owner.instance, record.id.file, record.id.offset
    );
    if out.len() > begun && out.last() == Some(&b'}') {
        out.pop();
        out.push(b',');
        out.extend_from_slice(id.as_bytes());
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use crate::hands::sinks::samples::record;
    use tutela_core::level::Level;

    #[test]
    fn a_record_is_one_object_in_one_line_whatever_is_in_it() {
        let mut record = record("a \"b\"\\\n\t\u{1}é");
        record.level = Some(Level::Warn);
        record.fields = vec![("user".into(), "7".into())];
        let mut out = Vec::new();
        write(&record, &mut out);
        assert!(!out.contains(&b'\n'));
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&value["message"], &value["user"]), (&"a \"b\"\\\n\t\u{1}é".into(), &7.into()));
        assert_eq!((&value["level"], &value["service_name"]), (&"warn".into(), &"api".into()));
        let (owner, id) = (&record.owner, &record.id);
        assert_eq!(value["tutela_id"], format!("{}-{}:{}:{}", owner.service, owner.instance, id.file, id.offset));
    }
}
