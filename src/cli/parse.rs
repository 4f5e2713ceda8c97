//! Parses the arguments of the process, and prints help or usage errors.

use std::ffi::OsString;
use std::io::{self, Write};

use clap::builder::Resettable;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches};

use super::exit::Exit;
use super::report::FailureDocument;
use super::settings::{Format, Given, accept_before_subcommand, refuse_inapplicable};
use super::{Arguments, help, output};
use crate::text;

/// The commands and options of a program.
pub(super) fn command(program: &'static str) -> Command {
    help::with_grouped_commands(Arguments::command().name(program).bin_name(program))
}

/// The same, which also accepts shared options before the subcommand.
pub(super) fn parser(program: &'static str) -> Command {
    accept_before_subcommand(without_empty_variables(command(program)))
}

/// The parsed arguments, and what messages and the record of runs need of them.
pub(super) struct ParsedArguments {
    pub(super) arguments: Arguments,
    pub(super) matches: ArgMatches,
    pub(super) given: Given,
}

/// Parses arguments, the first of which is the program.
pub(super) fn parse(program: &'static str, arguments: &[OsString]) -> Result<ParsedArguments, clap::Error> {
    let parser = parser(program);
    let matches =
        parser.clone().try_get_matches_from(arguments).map_err(|error| naming_variable(error, parser, arguments))?;
    let mut root = command(program);
    refuse_inapplicable(&mut root, &matches)?;
    let mut parsed = Arguments::from_arg_matches(&matches)?;
    parsed.output.resolve(&matches);
    let given = Given::new(&root, &matches);
    Ok(ParsedArguments { arguments: parsed, matches, given })
}

/// Prints help, or an error in the arguments.
pub(super) fn print(arguments: &[OsString], error: clap::Error) -> Exit {
    if !error.use_stderr() {
        return match error.print().and_then(|()| io::stdout().flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                output::error(format_args!("cannot write to standard output: {error}"));
                Exit::Refused
            }
            _ => Exit::Done,
        };
    }
    let words: Vec<String> = arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if words.iter().any(|word| word.contains(text::is_unprintable)) {
        output::to_stderr(text::multi_line(&escaped(error.render().to_string(), &words)).trim_end());
    } else {
        // If standard error cannot be written, the error cannot be reported anywhere.
        drop(error.print());
    }
    if Format::requested(arguments) == Format::Json {
        // If it cannot be printed, standard error has it.
        let _ = output::json(&document(&error));
    }
    Exit::Usage
}

/// The JSON of an error in the arguments.
fn document(error: &clap::Error) -> FailureDocument {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return FailureDocument::of_usage(code(error.kind()), "a command is required".to_owned(), None);
    }
    let rendered = error.render().to_string();
    let first = rendered.split("\n\n").next().unwrap_or_default().trim();
    let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    let tips: Vec<&str> = rendered.lines().filter_map(|line| line.trim().strip_prefix("tip: ")).collect();
    FailureDocument::of_usage(code(error.kind()), message, (!tips.is_empty()).then(|| tips.join("; ")))
}

/// The stable name of an error in the arguments.
fn code(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidValue | ErrorKind::ValueValidation | ErrorKind::InvalidUtf8 | ErrorKind::NoEquals => {
            "invalid-value"
        }
        ErrorKind::UnknownArgument => "unknown-argument",
        ErrorKind::InvalidSubcommand => "unknown-command",
        ErrorKind::ArgumentConflict => "argument-conflict",
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => "wrong-number-of-values",
        ErrorKind::MissingRequiredArgument => "missing-argument",
        ErrorKind::MissingSubcommand | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "missing-command",
        _ => "usage",
    }
}

/// The message of clap with the unprintable characters of the arguments in it escaped. Otherwise a line break in an
/// argument would look like one of the message.
fn escaped(message: String, words: &[String]) -> String {
    // It repeats an argument, the value behind an equals sign, one of several values, or a single short option.
    let parts = words.iter().flat_map(|word| {
        let value = word.split_once('=').map_or("", |(_, value)| value);
        [word.as_str(), value].into_iter().chain(word.split(['=', ',']))
    });
    let options = words.iter().flat_map(|word| word.chars()).map(|c| format!("-{c}"));
    parts.map(str::to_owned).chain(options).filter(|part| part.contains(text::is_unprintable)).fold(
        message,
        |message, part| {
            // Rendering without styles also removes the escape sequences of arguments.
            let without_sequences = anstream::adapter::strip_str(&part).to_string();
            [&part, &without_sequences]
                .into_iter()
                .filter(|shown| shown.contains(text::is_unprintable))
                .fold(message, |message, shown| message.replace(shown.as_str(), &text::one_line(&part)))
        },
    )
}

/// Treats an empty variable as unset, as the files of containers and services do.
fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|arg| {
            let is_empty = |name| std::env::var_os(name).is_some_and(|value| value.is_empty());
            if arg.get_env().is_some_and(is_empty) { arg.env(Resettable::Reset) } else { arg }
        })
        .mut_subcommands(without_empty_variables)
}

/// Names the environment variable instead of the option if an invalid value comes from the environment.
fn naming_variable(mut error: clap::Error, mut parser: Command, arguments: &[OsString]) -> clap::Error {
    let Some(ContextValue::String(shown)) = error.get(ContextKind::InvalidArg) else { return error };
    // Only the arguments of a command that is built can be shown.
    parser.build();
    let Some((long, variable)) = option_with_variable(&parser, shown) else { return error };
    let is_given = arguments.iter().any(|word| {
        let word = word.to_string_lossy();
        word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(&long))
    });
    if !is_given && std::env::var_os(&variable).is_some() {
        error.insert(ContextKind::InvalidArg, ContextValue::String(variable));
    }
    error
}

/// The name and variable of the option that clap shows as `shown`.
fn option_with_variable(command: &Command, shown: &str) -> Option<(String, String)> {
    let own = command.get_arguments().find(|arg| arg.to_string() == shown).and_then(|arg| {
        let variable = arg.get_env()?.to_string_lossy().into_owned();
        Some((arg.get_long()?.to_owned(), variable))
    });
    own.or_else(|| command.get_subcommands().find_map(|command| option_with_variable(command, shown)))
}
