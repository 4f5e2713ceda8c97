//! Views, and the triggers, rules and policies of tables and views.

use super::Phase;
use super::builder::Builder;
use super::text::{change_of_options, ident, list};
use crate::schema::structure::{Object, ObjectKind as Kind};

impl Builder<'_> {
    /// Creates or replaces a view, with its parts.
    pub(super) fn create_view(&mut self, view: &Object) {
        let name = view.identity.name.clone();
        self.replace_view(view);
        self.add_owner_grants_comment(view);
        let columns: Vec<Object> =
            self.expected.children(&name).filter(|object| object.identity.kind == Kind::Column).cloned().collect();
        for column in columns {
            self.begin_creation(&column.identity);
            self.in_group(None, &column.identity, |builder| {
                if view.identity.kind == Kind::View && column.facts.contains_key("default") {
                    builder.alter_column(&column, "default");
                }
                builder.add_column_properties(&column);
            });
        }
        for kind in [Kind::Index, Kind::Statistics, Kind::Trigger, Kind::Rule] {
            self.create_children(&name, kind);
        }
    }

    fn replace_view(&mut self, view: &Object) {
        let name = self.qualified(&view.identity.name);
        let definition = view.text("definition").unwrap_or_default().trim().trim_end_matches(';');
        let with = self.with_options(view);
        let sql = match view.identity.kind {
            Kind::View => format!("CREATE OR REPLACE VIEW {name}{with} AS\n {definition}"),
            _ => {
                let method = view.text("access_method").filter(|method| *method != "heap");
                let method = method.map(|method| format!(" USING {}", ident(method))).unwrap_or_default();
                let space = view.text("tablespace").map(|space| format!(" TABLESPACE {}", ident(space)));
                let space = space.unwrap_or_default();
                format!("CREATE MATERIALIZED VIEW {name}{method}{with}{space} AS\n {definition}\n WITH DATA")
            }
        };
        self.add_creating(Phase::View, name, sql);
    }

    pub(super) fn alter_view(&mut self, view: &Object, fact: &str) {
        let identity = &view.identity;
        let word = self.table_keyword(identity);
        let alter = format!("ALTER {word} {}", self.qualified(&identity.name));
        match fact {
            // A view that cannot be replaced is recreated.
            "definition" | "column_order" => self.replace_view(view),
            "options" | "security_options" => {
                let from = self.actual_object(identity).map(|actual| list(actual, fact)).unwrap_or_default();
                let (set, reset) = change_of_options(&from, &list(view, fact), "");
                for (word, options) in [("SET", set), ("RESET", reset)] {
                    if !options.is_empty() {
                        self.add(Phase::Setting, format!("{alter} {word} ({options})"));
                    }
                }
            }
            "tablespace" => {
                let space = ident(view.text(fact).unwrap_or("pg_default"));
                self.add(Phase::Setting, format!("{alter} SET TABLESPACE {space}"));
            }
            _ => {}
        }
    }

    pub(super) fn create_trigger(&mut self, trigger: &Object) {
        let Some(definition) = trigger.text("definition") else { return };
        // The trigger of a partition is created with that of its parent.
        if trigger.is("inherited") {
            return;
        }
        self.add(Phase::Trigger, definition.to_owned());
        self.add_firing_and_comment(trigger);
    }

    pub(super) fn create_rule(&mut self, rule: &Object) {
        let Some(definition) = rule.text("definition") else { return };
        let definition = definition.trim_end().trim_end_matches(';');
        let sql = match definition.strip_prefix("CREATE RULE ") {
            Some(rest) => format!("CREATE OR REPLACE RULE {rest}"),
            None => definition.to_owned(),
        };
        self.add(Phase::Trigger, sql);
        self.add_firing_and_comment(rule);
    }

    fn add_firing_and_comment(&mut self, object: &Object) {
        if object.text("enabled").is_some_and(|enabled| enabled != "O") {
            self.set_firing(object);
        }
        if object.facts.contains_key("comment") {
            self.comment(object);
        }
    }

    /// Enables or disables a trigger or a rule.
    pub(super) fn set_firing(&mut self, object: &Object) {
        let identity = &object.identity;
        let Some(on) = identity.on.as_deref().map(|on| self.qualified(on)) else { return };
        let verb = match object.text("enabled") {
            Some("D") => "DISABLE",
            Some("R") => "ENABLE REPLICA",
            Some("A") => "ENABLE ALWAYS",
            _ => "ENABLE",
        };
        let word = if identity.kind == Kind::Rule { "RULE" } else { "TRIGGER" };
        self.add(Phase::Firing, format!("ALTER TABLE {on} {verb} {word} {}", ident(&identity.name)));
    }

    pub(super) fn create_policy(&mut self, policy: &Object) {
        let Some(on) = policy.identity.on.as_deref().map(|on| self.qualified(on)) else { return };
        let mut sql = format!("CREATE POLICY {} ON {on}", ident(&policy.identity.name));
        if !policy.is("permissive") {
            sql += " AS RESTRICTIVE";
        }
        sql += &format!(" FOR {}", policy.text("command").unwrap_or("ALL"));
        sql += &format!(" TO {}", list(policy, "roles").join(", "));
        for (fact, word) in [("using", "USING"), ("check", "WITH CHECK")] {
            if let Some(expression) = policy.text(fact) {
                sql += &format!(" {word} ({expression})");
            }
        }
        self.add(Phase::Trigger, sql);
        if policy.facts.contains_key("comment") {
            self.comment(policy);
        }
    }
}
