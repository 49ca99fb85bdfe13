//! The JSON Schema of a spec, for editors, and the reference of its keys, for people. Both come from `keys`.

use super::keys::SpecKeys;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The JSON Schema (draft 2020-12) of a spec file. The same text every time.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<SpecKeys>().to_value();
    without_null(&mut schema);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("required".into(), serde_json::json!(["name", "services"]));
    }
    schema
}

/// TOML has no null: a key that may be left out is simply not required.
fn without_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(fields) => {
            if let Some(Value::Array(types)) = fields.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(options)) = fields.get_mut("anyOf") {
                options.retain(|option| option.get("type").and_then(Value::as_str) != Some("null"));
                if let [Value::Object(only)] = options.as_slice() {
                    let only = only.clone();
                    fields.remove("anyOf");
                    for (key, value) in only {
                        fields.entry(key).or_insert(value);
                    }
                }
            }
            if fields.get("default") == Some(&Value::Null) {
                fields.remove("default");
            }
            fields.values_mut().for_each(without_null);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// One key of the reference.
#[derive(Debug)]
pub(super) struct Row {
    /// The key with its way: `services.NAME.restart.delay`.
    pub(super) key: String,
    /// What it takes.
    pub(super) kind: String,
    /// What holds where it is left out, as TOML; empty: nothing.
    pub(super) default: String,
    /// What it means.
    pub(super) meaning: String,
}

/// Every key, in the order of the schema. The keys of the sections for one OS are those of the service, and are not
/// listed again.
pub(super) fn rows() -> Vec<Row> {
    let schema = schema();
    let mut rows = Vec::new();
    walk(&schema, &schema, "", &mut rows);
    rows
}

fn target<'a>(root: &'a Value, node: &'a Value) -> &'a Value {
    let reference = node.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix('#'));
    reference.and_then(|pointer| root.pointer(pointer)).unwrap_or(node)
}

fn walk(root: &Value, node: &Value, way: &str, rows: &mut Vec<Row>) {
    let Some(properties) = target(root, node).get("properties").and_then(Value::as_object) else { return };
    for (name, property) in properties {
        let key = if way.is_empty() { name.clone() } else { format!("{way}.{name}") };
        let kind = target(root, property);
        let meaning = property.get("description").or_else(|| kind.get("description"));
        let default = property.get("default").or_else(|| kind.get("default"));
        rows.push(Row {
            kind: kind_of(root, property),
            default: default.map(as_toml).unwrap_or_default(),
            meaning: meaning.and_then(Value::as_str).unwrap_or_default().replace('\n', " "),
            key: key.clone(),
        });
        if matches!(name.as_str(), "windows" | "linux" | "macos") {
            continue;
        }
        walk(root, property, &key, rows);
        if let Some(each) = kind.get("additionalProperties").filter(|it| it.is_object()) {
            walk(root, each, &format!("{key}.NAME"), rows);
        }
        if let Some(item) = kind.get("items") {
            walk(root, item, &format!("{key}[]"), rows);
        }
    }
}

fn kind_of(root: &Value, node: &Value) -> String {
    let node = target(root, node);
    let string = |key: &str| node.get(key).and_then(Value::as_str);
    if let Some(words) = words(node) {
        return words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
    }
    if string("type") == Some("object") {
        return match node.get("additionalProperties").filter(|it| it.is_object()) {
            Some(each) => format!("table of {}s", kind_of(root, each)),
            None => "table".into(),
        };
    }
    if string("type") == Some("array") {
        let item = node.get("items").map_or_else(|| "value".into(), |item| kind_of(root, item));
        return if item.starts_with('`') { format!("array of {item}") } else { format!("array of {item}s") };
    }
    match (string("title"), string("type")) {
        (Some(title), _) => title.to_owned(),
        (None, Some("string")) => "text".into(),
        (None, Some("integer")) => "whole number".into(),
        (None, Some("boolean")) => "true or false".into(),
        (None, Some(other)) => other.to_owned(),
        (None, None) => "value".into(),
    }
}

/// The words that a value may be, if it is one of some.
fn words(node: &Value) -> Option<Vec<&str>> {
    if let Some(words) = node.get("enum").and_then(Value::as_array) {
        return words.iter().map(Value::as_str).collect();
    }
    let options = node.get("oneOf")?.as_array()?;
    let word = |option: &'_ Value| option.get("const").and_then(Value::as_str).map(str::to_owned);
    if options.iter().any(|option| word(option).is_none()) {
        return None;
    }
    Some(options.iter().filter_map(|option| option.get("const").and_then(Value::as_str)).collect())
}

/// A value as a spec would have it.
fn as_toml(value: &Value) -> String {
    let table = |fields: &Map<String, Value>| {
        let fields: Vec<_> = fields.iter().map(|(key, value)| format!("{key} = {}", as_toml(value))).collect();
        if fields.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", fields.join(", ")) }
    };
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(as_toml).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => table(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// The reference of every key, as Markdown tables: one for each table of the spec.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Every key of a spec\n\nGenerated from the code; `tutela schema` gives the same as a JSON Schema for editors.\n\
         `NAME` stands for a name that you choose, `[]` for each item of an array. Every key of a service can stand\n\
         again in its sections `windows`, `linux` and `macos`, which hold on that OS only.\n",
    );
    let mut tables: Vec<(String, Vec<Row>)> = Vec::new();
    for row in rows() {
        let way = row.key.rsplit_once('.').map_or("", |(way, _)| way);
        // The three probes have the same keys, which are listed once.
        if matches!(way, "services.NAME.startup" | "services.NAME.live") {
            continue;
        }
        match tables.iter_mut().find(|(known, _)| known == way) {
            Some((_, rows)) => rows.push(row),
            None => tables.push((way.to_owned(), vec![row])),
        }
    }
    for (way, rows) in tables {
        let title = match way.as_str() {
            "" => "At the top".to_owned(),
            "services.NAME.ready" => format!("`{way}`, and `startup` and `live` beside it"),
            way => format!("`{way}`"),
        };
        let _ = write!(out, "\n## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|\n");
        for row in rows {
            let key = row.key.rsplit_once('.').map_or(row.key.as_str(), |(_, key)| key);
            let default = if row.default.is_empty() { String::new() } else { format!("`{}`", row.default) };
            let cells = [format!("`{key}`"), row.kind, default, row.meaning].map(|cell| cell.replace('|', "\\|"));
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    out
}
