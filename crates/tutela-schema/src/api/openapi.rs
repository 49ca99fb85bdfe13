//! The OpenAPI 3.1 document, made from [`ROUTES`] and the schemas of the bodies.

use super::refusal::{ErrorBody, ErrorReply};
use super::routes::{ROUTES, Response, Route, RouteId, SchemaSource};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The OpenAPI document of the control API. The same text every time.
pub fn openapi() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for route in ROUTES {
        let operation = operation(route, &mut generator);
        let path = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(route.method.as_str().to_ascii_lowercase(), operation);
        }
    }
    generator.subschema_for::<ErrorBody>();
    let refusal = generator.subschema_for::<ErrorReply>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tutela control API",
            "description": "HTTP/1.1 with JSON. Over the guard's control socket the OS says who asks; over TCP a token or a certificate does, and its role has to reach what x-tutela-role says. Fields and routes are only ever added.",
            "version": "1",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the spec's [[api.tokens]].",
                },
                "certificate": {
                    "type": "mutualTLS",
                    "description": "A certificate of an authority in the spec's api.client_ca; needed beside a token too where there is one.",
                },
            },
            "headers": {
                "WWW-Authenticate": { "description": "Bearer", "schema": { "type": "string" } },
                "Retry-After": { "description": "Seconds.", "schema": { "type": "integer" } },
            },
            "responses": {
                "Refused": {
                    "description": "refused, or failed",
                    "content": { "application/json": { "schema": refusal } },
                },
                "NotAuthenticated": {
                    "description": "over TCP: no token or certificate, or none that holds; not told apart",
                    "headers": { "WWW-Authenticate": { "$ref": "#/components/headers/WWW-Authenticate" } },
                    "content": { "application/json": { "schema": refusal } },
                },
                "NotAllowed": {
                    "description": "over TCP: the role does not reach; over the control socket: another account's guard",
                    "content": { "application/json": { "schema": refusal } },
                },
                "TooManyRequests": {
                    "description": "over TCP: too many requests, or too many without valid credentials",
                    "headers": { "Retry-After": { "$ref": "#/components/headers/Retry-After" } },
                    "content": { "application/json": { "schema": refusal } },
                },
            },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let mut parameters = Vec::new();
    if route.path.contains("{service}") {
        parameters.push(json!({
            "name": "service",
            "in": "path",
            "required": true,
            "description": "A service, such as api, or one instance of it, such as api:0.",
            "schema": { "type": "string" },
        }));
    }
    if let Some(query) = route.query {
        parameters.extend(query_parameters(query));
    }
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "security": [{ "token": [] }, { "certificate": [] }, {}],
        "x-tutela-role": route.role.word(),
        "responses": responses(route.responses, generator),
    });
    let Some(fields) = operation.as_object_mut() else { return operation };
    if !parameters.is_empty() {
        fields.insert("parameters".into(), Value::Array(parameters));
    }
    if let Some(request) = route.request {
        let schema = request(generator);
        fields.insert(
            "requestBody".into(),
            json!({ "required": false, "content": { "application/json": { "schema": schema } } }),
        );
    }
    operation
}

fn operation_id(route: &Route) -> String {
    match route.id {
        RouteId::ServiceCommand(verb) => format!("{verb}Service"),
        RouteId::GuardCommand(verb) => format!("{verb}Guard"),
        RouteId::Upgrade => "upgradeGuard".into(),
        RouteId::Status => "status".into(),
        RouteId::Service => "service".into(),
        RouteId::Logs => "logs".into(),
        RouteId::Events => "events".into(),
        RouteId::Info => "info".into(),
        RouteId::OpenApi => "openapi".into(),
        RouteId::Health => "health".into(),
        RouteId::Live => "live".into(),
        RouteId::Ready => "ready".into(),
        RouteId::Metrics => "metrics".into(),
    }
}

/// One parameter for each field of the query's struct, so that what is documented is what is read.
fn query_parameters(query: SchemaSource) -> Vec<Value> {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let schema = query(&mut settings.into_generator()).to_value();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Vec::new() };
    let parameter = |(name, schema): (&String, &Value)| {
        let mut schema = schema.clone();
        let fields = schema.as_object_mut();
        let description = fields.and_then(|fields| fields.remove("description")).unwrap_or(Value::Null);
        json!({ "name": name, "in": "query", "required": false, "description": description, "schema": schema })
    };
    properties.iter().map(parameter).collect()
}

fn responses(responses: &[Response], generator: &mut SchemaGenerator) -> Value {
    let mut out = Map::new();
    for response in responses {
        let schema = response.schema.map_or_else(|| json!({}), |schema| schema(generator).to_value());
        let entry = out
            .entry(response.status.to_string())
            .or_insert_with(|| json!({ "description": response.description, "content": {} }));
        entry["content"][response.content_type] = json!({ "schema": schema });
    }
    for (status, refusal) in [("401", "NotAuthenticated"), ("403", "NotAllowed"), ("429", "TooManyRequests")] {
        out.insert(status.into(), json!({ "$ref": format!("#/components/responses/{refusal}") }));
    }
    out.insert("default".into(), json!({ "$ref": "#/components/responses/Refused" }));
    Value::Object(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::super::routes::Method;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let document = openapi();
        for route in ROUTES {
            let method = if route.method == Method::Get { "get" } else { "post" };
            let operation = &document["paths"][route.path][method];
            let success = route.responses[0].status.to_string();
            for status in [success.as_str(), "401", "403", "429"] {
                assert!(operation["responses"][status].is_object(), "{status} {}", route.path);
            }
            assert_eq!(operation["x-tutela-role"], route.role.word());
        }
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn operation_ids_are_unique() {
        let ids: BTreeSet<_> = ROUTES.iter().map(operation_id).collect();
        assert_eq!(ids.len(), ROUTES.len());
    }

    #[test]
    fn query_parameters_are_the_fields_that_are_read() {
        let document = openapi();
        let parameters = document["paths"]["/v1/logs/{service}"]["get"]["parameters"].as_array().unwrap();
        let names: BTreeSet<_> = parameters.iter().map(|it| it["name"].as_str().unwrap()).collect();
        let read = ["service", "n", "since", "until", "follow", "stream", "level", "grep", "ignore_case", "invert"];
        assert_eq!(names, BTreeSet::from(read));
        assert!(parameters.iter().all(|it| it["description"].is_string()));
    }
}
