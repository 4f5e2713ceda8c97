//! The request of a run: what a command was asked to do, recorded as JSON so that the run can be retried.

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::{Deserialize, Serialize};

use super::settings::{given, source};
use crate::operations::migrate::Canary;

use crate::text::shell_word;

/// What a command was asked to do. It has no connection settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// `migrate-all`
    MigrateAll(MigrateAllRequest),
    /// `revert-all`
    RevertAll(RevertAllRequest),
    /// `drop`
    Drop(DropRequest),
    /// `cleanup`
    Cleanup(CleanupRequest),
}

/// The options of `migrate-all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MigrateAllRequest {
    pub(crate) to: Option<String>,
    pub(crate) verify: bool,
    pub(crate) selection: SelectionRequest,
    pub(crate) rollout: RolloutRequest,
    pub(crate) settings: SettingsRequest,
}

/// The options of `revert-all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RevertAllRequest {
    /// The version to revert to. `None` for a number of steps that leads to different versions, which cannot be retried.
    pub(crate) to: Option<String>,
    pub(crate) selection: SelectionRequest,
    pub(crate) rollout: RolloutRequest,
    pub(crate) settings: SettingsRequest,
}

/// The options of `drop`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DropRequest {
    pub(crate) untracked: bool,
    pub(crate) settings: SettingsRequest,
}

/// The options of `cleanup`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct CleanupRequest {
    pub(crate) include_orphans: bool,
    pub(crate) settings: SettingsRequest,
}

/// The regular expressions and labels that select tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SelectionRequest {
    #[serde(rename = "match")]
    pub(crate) matching: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<String>,
    pub(crate) except: Vec<String>,
}

/// The options of a rollout, as they are written on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RolloutRequest {
    pub(crate) canary: Option<String>,
    pub(crate) batch: Option<usize>,
    pub(crate) pause: Option<String>,
    pub(crate) max_failures: Option<String>,
    pub(crate) fail_fast: bool,
    pub(crate) shard: Option<String>,
    pub(crate) order: Option<String>,
}

/// The settings that were given as flags, as they are written on the command line. Settings from the environment are not
/// recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SettingsRequest {
    pub(crate) tenant_migrations: Option<String>,
    pub(crate) public_migrations: Option<String>,
    pub(crate) extension_schemas: Option<String>,
    pub(crate) jobs: Option<String>,
    pub(crate) lock_timeout: Option<String>,
    pub(crate) statement_timeout: Option<String>,
    pub(crate) retries: Option<String>,
    pub(crate) reconnect_for: Option<String>,
    pub(crate) keep: Option<String>,
    pub(crate) as_owner: bool,
}

impl SettingsRequest {
    /// The settings that were given as flags.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        let flag = |id: &str| given(matches, id);
        Self {
            tenant_migrations: flag("tenant_migrations"),
            public_migrations: flag("public_migrations"),
            extension_schemas: flag("extension_schemas"),
            jobs: flag("jobs"),
            lock_timeout: flag("lock_timeout"),
            statement_timeout: flag("statement_timeout"),
            retries: flag("retries"),
            reconnect_for: flag("reconnect_for"),
            keep: flag("keep"),
            as_owner: source(matches, "as_owner") == Some(ValueSource::CommandLine),
        }
    }
}

impl Request {
    /// The JSON that is recorded.
    ///
    /// # Errors
    /// None in practice: the fields are texts, numbers and booleans.
    pub(crate) fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The command that retries the failed tenants of a run with the same options, without the program's name; `None` if
    /// there is none. It asks for confirmation even if the run had `--yes`.
    pub(crate) fn retry(&self, run: i64, failed: &[&str]) -> Option<String> {
        let mut line = CommandLine::default();
        match self {
            Self::MigrateAll(request) => {
                line.word("migrate-all");
                line.value("to", request.to.as_deref());
                if request.verify {
                    line.flag("verify");
                }
                line.selection(&request.selection);
                line.rollout(&request.rollout, failed);
                line.settings(&request.settings);
                line.value("retry-failed", Some(&run.to_string()));
            }
            Self::RevertAll(request) => {
                line.word("revert-all");
                line.value("to", Some(request.to.as_deref()?));
                line.selection(&request.selection);
                line.rollout(&request.rollout, failed);
                line.settings(&request.settings);
                line.value("retry-failed", Some(&run.to_string()));
            }
            Self::Drop(request) => {
                line.word("drop");
                failed.iter().for_each(|name| line.word(&shell_word(name)));
                if request.untracked {
                    line.flag("untracked");
                }
                line.settings(&request.settings);
            }
            Self::Cleanup(request) => {
                line.word("cleanup");
                if request.include_orphans {
                    line.flag("include-orphans");
                }
                line.settings(&request.settings);
            }
        }
        Some(line.0)
    }
}

/// A command line, word by word.
#[derive(Default)]
struct CommandLine(String);

impl CommandLine {
    fn word(&mut self, word: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(word);
    }

    fn value(&mut self, flag: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.word(&format!("--{flag} {}", shell_word(value)));
        }
    }

    fn flag(&mut self, flag: &str) {
        self.word(&format!("--{flag}"));
    }

    fn selection(&mut self, selection: &SelectionRequest) {
        selection.matching.iter().for_each(|regex| self.value("match", Some(regex)));
        selection.labels.iter().for_each(|label| self.value("label", Some(label)));
        selection.except.iter().for_each(|regex| self.value("except", Some(regex)));
    }

    fn rollout(&mut self, rollout: &RolloutRequest, failed: &[&str]) {
        self.value("canary", rollout.canary.as_deref().filter(|canary| finds_canary(canary, failed)));
        self.value("batch", rollout.batch.map(|batch| batch.to_string()).as_deref());
        self.value("pause", rollout.pause.as_deref());
        self.value("max-failures", rollout.max_failures.as_deref());
        if rollout.fail_fast {
            self.flag("fail-fast");
        }
        self.value("shard", rollout.shard.as_deref());
        self.value("order", rollout.order.as_deref());
    }

    fn settings(&mut self, settings: &SettingsRequest) {
        self.value("tenant-migrations", settings.tenant_migrations.as_deref());
        self.value("public-migrations", settings.public_migrations.as_deref());
        self.value("extension-schema", settings.extension_schemas.as_deref());
        self.value("jobs", settings.jobs.as_deref());
        self.value("lock-timeout", settings.lock_timeout.as_deref());
        self.value("statement-timeout", settings.statement_timeout.as_deref());
        self.value("retries", settings.retries.as_deref());
        self.value("reconnect-for", settings.reconnect_for.as_deref());
        self.value("keep", settings.keep.as_deref());
        if settings.as_owner {
            self.flag("as-owner");
        }
    }
}

/// Whether a value of `--canary` selects a canary among these tenants. A pattern that matches none is refused.
fn finds_canary(canary: &str, tenants: &[&str]) -> bool {
    match canary.parse() {
        Ok(Canary::First(_) | Canary::Percent(_)) => true,
        Ok(Canary::Matching(regex)) => tenants.iter().any(|name| regex.is_match(name)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_rollout() -> RolloutRequest {
        RolloutRequest {
            canary: Some("^g".to_owned()),
            batch: Some(2),
            pause: Some("1s".to_owned()),
            max_failures: Some("5%".to_owned()),
            fail_fast: false,
            shard: Some("1/2".to_owned()),
            order: Some("size".to_owned()),
        }
    }

    fn full_settings() -> SettingsRequest {
        let text = |text: &str| Some(text.to_owned());
        SettingsRequest {
            tenant_migrations: text("my migrations"),
            public_migrations: text("public"),
            extension_schemas: text("ext,gis"),
            jobs: text("2"),
            lock_timeout: text("1s"),
            statement_timeout: text("1m"),
            retries: text("1"),
            reconnect_for: text("2s"),
            keep: text("1day"),
            as_owner: true,
        }
    }

    const SETTINGS: &str = "--tenant-migrations 'my migrations' --public-migrations public --extension-schema ext,gis \
                            --jobs 2 --lock-timeout 1s --statement-timeout 1m --retries 1 --reconnect-for 2s --keep 1day \
                            --as-owner";

    #[track_caller]
    fn check(request: &Request, expected: &str) {
        let json = request.to_json().unwrap();
        let read: Request = serde_json::from_str(&json).unwrap();
        assert_eq!(&read, request, "{json}");
        assert_eq!(read.retry(7, &["globex", "acme"]).as_deref(), Some(expected));
    }

    #[test]
    fn every_option_is_recorded_and_repeated() {
        let texts = |texts: [&str; 2]| texts.map(str::to_owned).into();
        let selection = SelectionRequest {
            matching: texts(["^a|g", "i$"]),
            labels: texts(["ring=canary", "plan"]),
            except: texts(["x", "y"]),
        };
        let rollout = "--match '^a|g' --match 'i$' --label ring=canary --label plan --except x --except y --canary '^g' --batch 2 --pause 1s --max-failures 5% --shard 1/2 \
                       --order size";
        check(
            &Request::MigrateAll(MigrateAllRequest {
                to: Some("3".to_owned()),
                verify: true,
                selection: selection.clone(),
                rollout: full_rollout(),
                settings: full_settings(),
            }),
            &format!("migrate-all --to 3 --verify {rollout} {SETTINGS} --retry-failed 7"),
        );
        check(
            &Request::RevertAll(RevertAllRequest {
                to: Some("3".to_owned()),
                selection,
                rollout: full_rollout(),
                settings: full_settings(),
            }),
            &format!("revert-all --to 3 {rollout} {SETTINGS} --retry-failed 7"),
        );
        check(
            &Request::Drop(DropRequest { untracked: true, settings: full_settings() }),
            &format!("drop globex acme --untracked {SETTINGS}"),
        );
        check(
            &Request::Cleanup(CleanupRequest { include_orphans: true, settings: full_settings() }),
            &format!("cleanup --include-orphans {SETTINGS}"),
        );
    }

    #[test]
    fn steps_to_different_versions_are_not_repeated() {
        assert_eq!(Request::RevertAll(RevertAllRequest::default()).retry(7, &["acme"]), None);
    }

    #[test]
    fn completed_canary_is_not_repeated() {
        let request =
            Request::MigrateAll(MigrateAllRequest { rollout: full_rollout(), ..MigrateAllRequest::default() });
        assert!(!request.retry(7, &["acme"]).unwrap().contains("canary"));
    }

    #[test]
    fn unknown_options_are_an_error() {
        for json in [
            r#"{"command": "migrate-all", "to": "3", "dance": true}"#,
            r#"{"command": "migrate-all", "rollout": {"dance": 1}}"#,
            r#"{"command": "dance-all"}"#,
        ] {
            let error = serde_json::from_str::<Request>(json).unwrap_err();
            assert!(error.to_string().contains("dance"), "{error}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"command": "migrate-all"}"#).is_ok());
    }
}
