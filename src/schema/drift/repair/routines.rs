//! Functions, procedures and aggregates.

use super::Phase;
use super::builder::{Builder, provided};
use super::text::{field, fields};
use crate::schema::structure::{Object, ObjectKind as Kind};

impl Builder<'_> {
    pub(super) fn create_routine(&mut self, routine: &Object) {
        self.replace_routine(routine);
        self.add_owner_grants_comment(routine);
    }

    pub(super) fn replace_routine(&mut self, routine: &Object) {
        let sql = match (routine.identity.kind, &routine.ddl) {
            (Kind::Aggregate, _) => self.aggregate(routine),
            (_, Some(ddl)) => Some(ddl.trim_end().to_owned()),
            (_, None) => None,
        };
        // A parsed SQL body depends on the objects that it mentions.
        let phase = match () {
            () if routine.is("sql_body") => Phase::SqlRoutine,
            () if routine.identity.kind == Kind::Aggregate => Phase::Operator,
            () => Phase::Routine,
        };
        if let Some(sql) = sql {
            self.add_creating(phase, provided(&self.expected, &routine.identity), sql);
        }
    }

    fn aggregate(&self, aggregate: &Object) -> Option<String> {
        const KEYS: [&str; 21] = [
            "kind",
            "direct arguments",
            "sfunc",
            "stype",
            "sspace",
            "finalfunc",
            "finalfunc_extra",
            "finalfunc_modify",
            "combinefunc",
            "serialfunc",
            "deserialfunc",
            "initcond",
            "msfunc",
            "minvfunc",
            "mstype",
            "msspace",
            "mfinalfunc",
            "mfinalfunc_extra",
            "mfinalfunc_modify",
            "minitcond",
            "sortop",
        ];
        let found = fields(aggregate.text("aggregate")?, &KEYS);
        let mut options = Vec::new();
        for (key, value) in &found {
            let moving = field(&found, "msfunc").is_some_and(|function| function != "-");
            match *key {
                "kind" if *value == "h" => options.push("HYPOTHETICAL".to_owned()),
                "kind" | "direct arguments" => {}
                "sspace" | "msspace" if *value == "0" => {}
                "mfinalfunc_extra" | "mfinalfunc_modify" | "msspace" if !moving => {}
                "finalfunc_extra" | "mfinalfunc_extra" if *value == "true" || *value == "t" => {
                    options.push(key.to_uppercase());
                }
                "finalfunc_extra" | "mfinalfunc_extra" => {}
                // Ordinary and other aggregates have different defaults.
                "finalfunc_modify" | "mfinalfunc_modify" => {
                    let word = match *value {
                        "r" => "READ_ONLY",
                        "s" => "SHAREABLE",
                        _ => "READ_WRITE",
                    };
                    options.push(format!("{} = {word}", key.to_uppercase()));
                }
                "sortop" => {
                    let operator = value.split('(').next().unwrap_or_default();
                    options.push(format!("SORTOP = OPERATOR({operator})"));
                }
                _ if *value == "-" => {}
                _ => options.push(format!("{} = {value}", key.to_uppercase())),
            }
        }
        if let Some(word) = aggregate.text("parallel").filter(|letter| *letter != "u") {
            let word = if word == "s" { "SAFE" } else { "RESTRICTED" };
            options.push(format!("PARALLEL = {word}"));
        }
        let own = &self.actual.own_name;
        let name = match aggregate.identity.name.strip_suffix("()") {
            Some(name) => format!("{name}(*)"),
            None => aggregate.identity.name.clone(),
        };
        Some(format!("CREATE OR REPLACE AGGREGATE {own}.{name} (\n    {}\n)", options.join(",\n    ")))
    }
}
