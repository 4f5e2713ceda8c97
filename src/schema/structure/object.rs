//! The objects of a schema.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::tenants::ledger;

/// Marks the schema's own name, quoted if necessary, and the dot after it. No name or deparsed SQL contains this character.
pub(crate) const OWN: char = '\u{1}';

/// Marks the schema's own name without a dot.
pub(crate) const OWN_NAME: char = '\u{2}';

/// The kinds of objects, in the order in which differences are listed. Their names are stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "these are PostgreSQL's own terms")]
pub enum ObjectKind {
    Schema,
    #[serde(rename = "default privileges")]
    DefaultPrivileges,
    Extension,
    Collation,
    Conversion,
    Enum,
    Domain,
    #[serde(rename = "domain constraint")]
    DomainConstraint,
    #[serde(rename = "composite type")]
    CompositeType,
    Attribute,
    #[serde(rename = "range type")]
    RangeType,
    Type,
    Cast,
    Function,
    Procedure,
    Aggregate,
    Operator,
    #[serde(rename = "operator family")]
    OperatorFamily,
    #[serde(rename = "operator class")]
    OperatorClass,
    #[serde(rename = "text search parser")]
    TextSearchParser,
    #[serde(rename = "text search template")]
    TextSearchTemplate,
    #[serde(rename = "text search dictionary")]
    TextSearchDictionary,
    #[serde(rename = "text search configuration")]
    TextSearchConfiguration,
    Sequence,
    Table,
    #[serde(rename = "foreign table")]
    ForeignTable,
    Column,
    View,
    #[serde(rename = "materialized view")]
    MaterializedView,
    Constraint,
    Index,
    #[serde(rename = "index column")]
    IndexColumn,
    Statistics,
    Trigger,
    Rule,
    Policy,
    Publication,
    #[serde(rename = "security label")]
    SecurityLabel,
}

/// What identifies an object in its schema.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The kind.
    pub kind: ObjectKind,
    /// The object that it belongs to: the table of a column, the domain of a constraint.
    pub on: Option<String>,
    /// The name, unquoted. A function's name includes its argument types.
    pub name: String,
}

/// What the catalogs contain about an object, by the column names of the catalog queries. Facts that are not set are
/// omitted.
pub type Facts = BTreeMap<String, Value>;

/// An object of a schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Object {
    #[serde(flatten)]
    pub(crate) identity: Identity,
    #[serde(flatten)]
    pub(crate) facts: Facts,
    /// The statement that creates it, if the server has a function that returns one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ddl: Option<String>,
}

/// The objects of a schema.
#[derive(Debug, Clone, PartialEq)]
pub struct Structure {
    /// The schema's name, quoted if necessary; empty if markers replace it everywhere.
    pub(crate) own_name: String,
    /// The objects by identity.
    pub(crate) objects: BTreeMap<Identity, Object>,
}

impl ObjectKind {
    /// Every kind, in the order in which differences are listed.
    pub const ALL: [Self; 38] = [
        Self::Schema,
        Self::DefaultPrivileges,
        Self::Extension,
        Self::Collation,
        Self::Conversion,
        Self::Enum,
        Self::Domain,
        Self::DomainConstraint,
        Self::CompositeType,
        Self::Attribute,
        Self::RangeType,
        Self::Type,
        Self::Cast,
        Self::Function,
        Self::Procedure,
        Self::Aggregate,
        Self::Operator,
        Self::OperatorFamily,
        Self::OperatorClass,
        Self::TextSearchParser,
        Self::TextSearchTemplate,
        Self::TextSearchDictionary,
        Self::TextSearchConfiguration,
        Self::Sequence,
        Self::Table,
        Self::ForeignTable,
        Self::Column,
        Self::View,
        Self::MaterializedView,
        Self::Constraint,
        Self::Index,
        Self::IndexColumn,
        Self::Statistics,
        Self::Trigger,
        Self::Rule,
        Self::Policy,
        Self::Publication,
        Self::SecurityLabel,
    ];

    /// The name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::DefaultPrivileges => "default privileges",
            Self::Extension => "extension",
            Self::Collation => "collation",
            Self::Conversion => "conversion",
            Self::Enum => "enum",
            Self::Domain => "domain",
            Self::DomainConstraint => "domain constraint",
            Self::CompositeType => "composite type",
            Self::Attribute => "attribute",
            Self::RangeType => "range type",
            Self::Type => "type",
            Self::Cast => "cast",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Aggregate => "aggregate",
            Self::Operator => "operator",
            Self::OperatorFamily => "operator family",
            Self::OperatorClass => "operator class",
            Self::TextSearchParser => "text search parser",
            Self::TextSearchTemplate => "text search template",
            Self::TextSearchDictionary => "text search dictionary",
            Self::TextSearchConfiguration => "text search configuration",
            Self::Sequence => "sequence",
            Self::Table => "table",
            Self::ForeignTable => "foreign table",
            Self::Column => "column",
            Self::View => "view",
            Self::MaterializedView => "materialized view",
            Self::Constraint => "constraint",
            Self::Index => "index",
            Self::IndexColumn => "index column",
            Self::Statistics => "statistics",
            Self::Trigger => "trigger",
            Self::Rule => "rule",
            Self::Policy => "policy",
            Self::Publication => "publication",
            Self::SecurityLabel => "security label",
        }
    }

    /// The name in codes, without spaces.
    pub fn slug(self) -> String {
        self.as_str().replace(' ', "-")
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.on {
            Some(on) => write!(f, "{on}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Identity {
    /// Changes every text.
    fn map(&self, change: impl Fn(&str) -> String) -> Self {
        Self { kind: self.kind, on: self.on.clone(), name: change(&self.name) }
    }
}

impl Object {
    /// A fact that is a text.
    pub(crate) fn text(&self, fact: &str) -> Option<&str> {
        self.facts.get(fact).and_then(Value::as_str)
    }

    /// Whether a fact is true.
    pub(crate) fn is(&self, fact: &str) -> bool {
        self.facts.get(fact).and_then(Value::as_bool).unwrap_or(false)
    }

    fn map(&self, change: &impl Fn(&str) -> String) -> Self {
        Self {
            identity: self.identity.map(change),
            facts: self.facts.iter().map(|(fact, value)| (fact.clone(), map(value, change))).collect(),
            ddl: self.ddl.as_deref().map(change),
        }
    }
}

impl Structure {
    /// The number of objects, including the schema.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether the schema contains no objects.
    pub fn is_empty(&self) -> bool {
        self.objects.keys().all(|identity| identity.kind == ObjectKind::Schema)
    }

    /// The names of its tables, except the ledger, sorted.
    pub fn tables(&self) -> impl Iterator<Item = &str> {
        let table = |identity: &&Identity| identity.kind == ObjectKind::Table && identity.name != ledger::TABLE;
        self.objects.keys().filter(table).map(|identity| identity.name.as_str())
    }

    /// The owner of the schema.
    pub(crate) fn owner(&self) -> Option<String> {
        let schema = self.objects.values().find(|object| object.identity.kind == ObjectKind::Schema);
        schema?.text("owner").map(str::to_owned)
    }

    /// The facts of the schema itself.
    pub(crate) fn schema_facts(&mut self) -> Option<&mut Facts> {
        let mut objects = self.objects.values_mut();
        objects.find(|object| object.identity.kind == ObjectKind::Schema).map(|object| &mut object.facts)
    }

    /// Replaces the schema's name with [`OWN`] and [`OWN_NAME`] everywhere. That is exact only for a random name, which no
    /// other text contains.
    pub(crate) fn with_name_replaced(&self) -> Self {
        let qualified = format!("{}.", self.own_name);
        let marked = self.map(&|text: &str| {
            text.replace(&qualified, OWN.encode_utf8(&mut [0; 4]))
                .replace(&self.own_name, OWN_NAME.encode_utf8(&mut [0; 4]))
        });
        Self { own_name: String::new(), ..marked }
    }

    /// The structure as others are compared with it: markers replace the schema's own name before a dot, and in settings.
    /// Text that only looks like the name, such as a table's alias, is replaced, too; therefore the name is kept.
    #[must_use]
    pub fn with_name_marked(&self) -> Self {
        let mut marked = self.map(&|text: &str| with_own_marked(text, &self.own_name));
        for object in marked.objects.values_mut() {
            if let Some(settings) = object.facts.get_mut("settings") {
                *settings =
                    map(settings, &|text: &str| text.replace(&self.own_name, OWN_NAME.encode_utf8(&mut [0; 4])));
            }
        }
        marked
    }

    fn map(&self, change: &impl Fn(&str) -> String) -> Self {
        let objects = self.objects.values().map(|object| object.map(change));
        Self {
            own_name: self.own_name.clone(),
            objects: objects.map(|object| (object.identity.clone(), object)).collect(),
        }
    }
}

impl FromIterator<Object> for Structure {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let objects = objects.into_iter().map(|object| (object.identity.clone(), object)).collect();
        Self { own_name: String::new(), objects }
    }
}

/// Replaces the markers in a text with a schema's name, quoted if necessary.
pub(crate) fn filled_in(text: &str, own_name: &str) -> String {
    let escaped = in_constant(own_name);
    let mut filled = String::with_capacity(text.len());
    let mut is_in_constant = false;
    for c in text.chars() {
        match c {
            OWN => {
                filled.push_str(if is_in_constant { &escaped } else { own_name });
                filled.push('.');
            }
            // As in `SET search_path TO 'acme'` of a function's definition.
            OWN_NAME if is_in_constant => filled.push_str(&in_constant(&unquoted(own_name))),
            OWN_NAME => filled.push_str(own_name),
            c => {
                is_in_constant ^= c == '\'';
                filled.push(c);
            }
        }
    }
    filled
}

/// Replaces a schema's name before a dot with [`OWN`], also in string constants.
pub(crate) fn with_own_marked(text: &str, own_name: &str) -> String {
    let mut own = [0; 4];
    let own: &str = OWN.encode_utf8(&mut own);
    let marked = text.replace(&format!("{own_name}."), own);
    let marked = match in_constant(own_name) {
        Cow::Borrowed(_) => marked,
        Cow::Owned(escaped) => marked.replace(&format!("{escaped}."), own),
    };
    match constant_with(own_name) {
        Some((escaped, _)) => marked.replace(&escaped, &format!("'{own}")),
        None => marked,
    }
}

/// An identifier without its quotes.
pub(crate) fn unquoted(identifier: &str) -> String {
    match identifier.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => identifier.to_owned(),
    }
}

/// A schema's name, quoted if necessary, as it is written in a string constant without escapes.
pub(crate) fn in_constant(own_name: &str) -> Cow<'_, str> {
    if own_name.contains('\'') { own_name.replace('\'', "''").into() } else { own_name.into() }
}

/// The beginning of a string constant with the schema's name before a dot, if the server writes it with escapes, and without.
pub(crate) fn constant_with(own_name: &str) -> Option<(String, String)> {
    let plain = in_constant(own_name);
    own_name.contains('\\').then(|| (format!("E'{}.", plain.replace('\\', "\\\\")), format!("'{plain}.")))
}

fn map(value: &Value, change: &impl Fn(&str) -> String) -> Value {
    match value {
        Value::String(text) => Value::String(change(text)),
        Value::Array(values) => Value::Array(values.iter().map(|value| map(value, change)).collect()),
        other => other.clone(),
    }
}
