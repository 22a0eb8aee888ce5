//! The published form of what leaves the agent.

use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    record::Record,
    socket::protocol::{Answer, Request},
    status::Status,
};

/// Names the schema; it is no address to fetch it from.
const ID: &str = "urn:procwatch:record";

/// What a schema describes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Described {
    /// A line of --json: what happened
    #[default]
    Record,
    /// What `status --json` prints
    Status,
    /// A line that the agent's socket takes
    Request,
    /// A line that the agent's socket gives, but for records
    Answer,
}

/// The JSON Schema (draft 2020-12) of what is named. As for records, a later version may add properties.
pub fn schema_of(what: Described) -> Schema {
    let to = || SchemaSettings::draft2020_12().for_serialize().into_generator();
    let from = || SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let (mut schema, name) = match what {
        Described::Record => return schema(),
        Described::Status => (to().into_root_schema_for::<Status>(), "status"),
        Described::Request => (from().into_root_schema_for::<Request>(), "request"),
        Described::Answer => (to().into_root_schema_for::<Answer>(), "answer"),
    };
    schema.insert("$id".to_owned(), format!("urn:procwatch:{name}").into());
    schema.insert("title".to_owned(), format!("procwatch {name}").into());
    schema
}

/// The JSON Schema (draft 2020-12) of one line of the stream.
///
/// It allows properties that it does not name: a later version may add some, and an old reader goes on.
pub fn schema() -> Schema {
    let mut schema =
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Record>();
    schema.insert("$id".to_owned(), ID.into());
    schema.insert("title".to_owned(), "procwatch record".into());
    schema.insert("examples".to_owned(), Value::Array(vec![example()]));
    schema
}

fn example() -> Value {
    json!({
        "time": "2026-11-22T15:04:05.123456789Z", "boot_ns": 7_123_456_789_u64, "kind": "thread",
        "pid": 4242, "tid": 4300, "ppid": 100, "uid": 1000, "euid": 1000, "user": "alice", "comm": "python3",
        "threads": 81, "start_ns": 5_000_000_000_u64, "cgroup_id": 77,
        "cgroup": "/user.slice/user-1000.slice/session-2.scope", "creator_tid": 4242,
    })
}

#[cfg(test)]
mod tests {
    use jsonschema::Validator;

    use super::*;
    use crate::samples;

    /// As published, but nothing is allowed that it does not name: so nothing is sent that it does not describe.
    fn strict() -> Validator {
        let mut schema = schema();
        schema.insert("unevaluatedProperties".to_owned(), false.into());
        jsonschema::validator_for(schema.as_value()).unwrap()
    }

    fn check(record: &Value) -> Result<(), String> {
        let errors: Vec<String> = strict().iter_errors(record).map(|error| error.to_string()).collect();
        if errors.is_empty() { Ok(()) } else { Err(format!("{record}: {errors:?}")) }
    }

    fn sample() -> Value {
        serde_json::to_value(&samples::all()[0]).unwrap()
    }

    #[test]
    fn each_kind_is_described() {
        for record in samples::all() {
            check(&serde_json::to_value(record).unwrap()).unwrap();
        }
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let published = jsonschema::validator_for(schema().as_value()).unwrap();
        for (key, value) in [
            ("kind", json!("spoon")),
            ("kind", json!("exec")),
            ("pid", json!("4242")),
            ("pid", json!(-1)),
            ("comm", Value::Null),
        ] {
            let mut record = sample();
            record[key] = value;
            assert!(!published.is_valid(&record), "{record}");
        }
        for key in ["kind", "time", "boot_ns", "pid", "user", "creator_tid"] {
            let mut record = sample();
            record.as_object_mut().unwrap().remove(key);
            assert!(!published.is_valid(&record), "{record}");
        }
    }

    #[test]
    fn a_later_property_is_allowed_as_published_only() {
        let mut record = sample();
        record["colour"] = json!("green");
        assert!(jsonschema::is_valid(schema().as_value(), &record));
        assert!(check(&record).is_err());
    }

    #[test]
    fn the_example_is_one() {
        check(&example()).unwrap();
    }

    #[test]
    fn all_is_described_in_words() {
        for what in [Described::Record, Described::Status, Described::Request, Described::Answer] {
            let schema = schema_of(what);
            for (name, definition) in schema.as_value()["$defs"].as_object().into_iter().flatten() {
                let properties = definition["properties"].as_object();
                for (property, value) in properties.into_iter().flatten() {
                    assert!(value.get("description").is_some(), "{name}.{property}");
                }
            }
        }
    }

    #[test]
    fn requests_and_answers_are_as_described() {
        let valid = |what, value: &Value| jsonschema::is_valid(schema_of(what).as_value(), value);
        for request in [
            json!({"ask": "status"}),
            json!({"ask": "processes"}),
            json!({"ask": "events"}),
            json!({"ask": "events", "kinds": ["alert"], "uids": [0], "lineage": true}),
        ] {
            assert!(valid(Described::Request, &request), "{request}");
            serde_json::from_value::<Request>(request).unwrap();
        }
        for bad in [json!({"ask": "spoon"}), json!({"ask": "events", "kinds": "alert"}), json!({})] {
            assert!(!valid(Described::Request, &bad), "{bad}");
            assert!(serde_json::from_value::<Request>(bad).is_err());
        }
        let hello = Answer::Hello { protocol: 1, version: "0.1.0".to_owned(), pid: 7 };
        let refused = Answer::Refused { why: "so".to_owned() };
        for answer in [hello, refused, Answer::Processes { processes: Vec::new() }] {
            let answer = serde_json::to_value(answer).unwrap();
            assert!(valid(Described::Answer, &answer), "{answer}");
        }
    }
}
