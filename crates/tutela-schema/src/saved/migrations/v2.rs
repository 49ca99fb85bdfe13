//! Version 2 counts restarts by cause. What version 1 had counted has no cause that anybody knows.

use serde_json::{Map, Value};

pub(super) fn add_restarts_by(saved: &mut Value) -> Result<(), String> {
    let map = saved.as_object_mut().ok_or("it is no table")?;
    map.insert("restarts_by".to_owned(), Value::Object(Map::new()));
    Ok(())
}
