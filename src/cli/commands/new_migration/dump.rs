//! The script of a migration that is made of a dump: of the output of `pg_dump`, or of an existing schema.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use anyhow::{Context as _, Result};

use crate::cli::commands::local::BinariesArgs;
use crate::cli::context::{Context, Usage};
use crate::cli::settings::Connection;
use crate::local::PgDump;
use crate::model::SchemaName;
use crate::operations::schema_names;
use crate::sql::dump::{self, DumpOptions, DumpProblem, DumpRefused, Privileges};
use crate::text;

/// What the migration is made of.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct DumpArgs {
    /// Fill up.sql with the definition of this schema of the database, which pg_dump reads
    #[arg(long, value_name = "SCHEMA", conflicts_with = "from_dump")]
    from_schema: Option<SchemaName>,

    /// Fill up.sql with the schema in this output of pg_dump --schema-only, or - for standard input
    #[arg(long, value_name = "FILE")]
    from_dump: Option<PathBuf>,

    /// Schema in the dump [default: the only one that it creates, or public]
    #[arg(long, value_name = "SCHEMA", requires = "from_dump")]
    schema: Option<String>,

    /// Keep the GRANT and REVOKE statements of the dump
    #[arg(long)]
    keep_grants: bool,

    #[command(flatten)]
    binaries: BinariesArgs,

    #[command(flatten)]
    connection: Connection,
}

/// A dump, and how messages name it.
struct Dump {
    shown: String,
    text: String,
    schema: Option<String>,
    /// How to get a dump that can be edited.
    advice: Option<String>,
}

impl DumpArgs {
    /// Whether the migration is made of a schema of the database.
    pub(super) fn is_of_database(&self) -> bool {
        self.from_schema.is_some()
    }

    /// The script; `None` if no dump is given. Prints what is to be checked.
    pub(super) fn script(&self, context: &Context) -> Result<Option<String>> {
        let dump = match (&self.from_schema, &self.from_dump) {
            (Some(schema), _) => self.of_schema(schema, context)?,
            (None, Some(file)) => self.of_file(file)?,
            (None, None) if self.keep_grants => {
                let message = "--keep-grants applies to --from-dump and --from-schema only";
                return Err(Usage::new("unexpected-option", message).into());
            }
            (None, None) => return Ok(None),
        };
        self.clean(dump, context).map(Some)
    }

    fn of_file(&self, file: &Path) -> Result<Dump> {
        let shown = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
        let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) };
        let text = text.with_context(|| format!("cannot read {shown}"))?;
        if text.starts_with("PGDMP") {
            return Err(Usage::with_hint(
                "unreadable-file",
                format!("{shown} is a dump in the custom format"),
                "dump with --format=plain, or convert it with pg_restore --schema-only --file=FILE",
            )
            .into());
        }
        Ok(Dump { shown, text, schema: self.schema.clone(), advice: None })
    }

    fn of_schema(&self, schema: &SchemaName, context: &Context) -> Result<Dump> {
        let mut db = context.database(&self.connection)?;
        let names = schema_names(db.connection())?;
        if !names.iter().any(|name| name == schema.as_str()) {
            let message = format!("schema {schema} does not exist in database {}", db.server().database);
            return Err(match text::closest(schema.as_str(), names.iter().map(String::as_str)) {
                Some(similar) => Usage::with_hint("unknown-schema", message, format!("a similar schema is {similar}")),
                None => Usage::new("unknown-schema", message),
            }
            .into());
        }
        let major = u32::try_from(db.server().version / 10_000).unwrap_or_default();
        let pg_dump = PgDump::find(self.binaries.folder(), env::var_os("PATH").as_deref(), major)?;
        let text = pg_dump.schema(db.connector().url(), schema)?;
        Ok(Dump {
            shown: format!("the dump of {schema}"),
            text,
            schema: Some(schema.to_string()),
            advice: Some("save the output of pg_dump --schema-only, edit it, and use --from-dump".to_owned()),
        })
    }

    fn clean(&self, dump: Dump, context: &Context) -> Result<String> {
        let Dump { shown, text, schema, advice } = dump;
        let privileges = if self.keep_grants { Privileges::Keep } else { Privileges::Remove };
        let clean = dump::clean(&text, &DumpOptions { schema, privileges }).map_err(|refused| {
            let problems = match refused {
                DumpRefused::Unterminated(unterminated) => vec![format!("{shown}: {unterminated}")],
                DumpRefused::Problems(problems) => {
                    problems.iter().map(|DumpProblem { line, message }| format!("{shown}:{line}: {message}")).collect()
                }
            };
            let message = format!("cannot make a migration of the dump:\n{}", problems.join("\n"));
            match &advice {
                Some(advice) => Usage::with_hint("invalid-dump", message, advice),
                None => Usage::new("invalid-dump", message),
            }
        })?;
        let output = context.output();
        for DumpProblem { line, message } in &clean.warnings {
            output.warning(format_args!("{shown}:{line}: {message}"));
        }
        if !clean.extensions.is_empty() {
            output.status(format_args!(
                "the dump needs the extensions {}; install them in a schema that --extension-schema names",
                clean.extensions.join(", ")
            ));
        }
        if clean.script.is_empty() {
            let hint = match self.from_schema {
                Some(_) => "name a schema that has tables",
                None => "name the dumped schema with --schema",
            };
            let message = format!("{shown} has no objects of the schema {}", clean.schema);
            return Err(Usage::with_hint("invalid-dump", message, hint).into());
        }
        Ok(clean.script)
    }
}
