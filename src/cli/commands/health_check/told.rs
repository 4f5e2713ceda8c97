//! What is told: the findings, and the differences that are not accepted.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::FailOn;
use crate::cli::comparing::Comparing;
use crate::cli::context::Context;
use crate::cli::output::{count, thousands};
use crate::drift::{Accepted, Aspect, Difference, Drift, Level, Member};
use crate::health::{Finding, Health};

/// What was found and is not accepted, with what was asked for.
pub(super) struct Told<'a> {
    pub(super) health: &'a Health,
    /// First what is amiss with the database, then tenant by tenant in the order of names, and of each first what its
    /// ledger and the tracker say.
    pub(super) items: Vec<Item<'a>>,
    /// All tenants that were compared, the largest group first.
    pub(super) groups: Vec<Group<'a>>,
    comparing: &'a Comparing,
    fail_on: &'a [FailOn],
}

/// Something that was found.
pub(super) enum Item<'a> {
    Finding(&'a Finding),
    Drift(&'a Member, &'a Difference),
}

/// Tenants of which the same is told: what is accepted for one of them may not be for another.
pub(super) struct Group<'a> {
    /// In the order of names.
    pub(super) members: Vec<&'a Member>,
    pub(super) differences: Vec<&'a Difference>,
}

impl<'a> Told<'a> {
    pub(super) fn new(
        health: &'a Health,
        accepted: &Accepted,
        comparing: &'a Comparing,
        fail_on: &'a [FailOn],
    ) -> Self {
        let groups = groups(&health.drift, accepted);
        let of_database = health.findings.iter().filter(|finding| finding.tenant.is_none()).map(Item::Finding);
        let mut of_tenants: Vec<(&str, Item<'a>)> = health
            .findings
            .iter()
            .filter_map(|finding| Some((finding.tenant.as_deref()?, Item::Finding(finding))))
            .collect();
        for Group { members, differences } in &groups {
            for member in members {
                of_tenants.extend(
                    differences.iter().map(|difference| (member.name.as_str(), Item::Drift(member, difference))),
                );
            }
        }
        of_tenants.sort_by_key(|(tenant, _)| *tenant);
        let items = of_database.chain(of_tenants.into_iter().map(|(_, item)| item)).collect();
        Self { health, items, groups, comparing, fail_on }
    }

    pub(super) fn healthy(&self) -> bool {
        !self.items.iter().any(|item| self.fails(item))
    }

    pub(super) fn fails(&self, item: &Item<'_>) -> bool {
        match (self.fail_on, item) {
            ([], Item::Finding(_)) => true,
            ([], Item::Drift(_, difference)) => difference.level.fails_by_default(),
            (chosen, Item::Finding(finding)) => {
                chosen.contains(&FailOn::Kind(finding.kind)) || chosen.contains(&FailOn::Level(Level::Structural))
            }
            (chosen, Item::Drift(_, difference)) => chosen.contains(&FailOn::Level(difference.level)),
        }
    }

    /// A row for each item.
    pub(super) fn rows(&self, context: &Context) -> Vec<Vec<String>> {
        self.items.iter().map(|item| self.row(item, context)).collect()
    }

    /// A row for each finding, and for all tenants with the same drift one.
    pub(super) fn grouped(&self, context: &Context) -> Vec<Vec<String>> {
        let findings = self.items.iter().filter(|item| matches!(item, Item::Finding(_)));
        let mut rows: Vec<Vec<String>> = findings.map(|item| self.row(item, context)).collect();
        for Group { members, differences } in &self.groups {
            let [first, others @ ..] = members.as_slice() else { continue };
            let tenants = match others {
                [] => first.name.to_string(),
                _ => format!("{} such as {}", thousands(members.len()), first.name),
            };
            let Some(level) = differences.iter().map(|difference| difference.level).min() else {
                rows.push(vec![tenants, String::new(), String::new(), "as the reference".to_owned(), String::new()]);
                continue;
            };
            let short: Vec<String> =
                differences.iter().map(|difference| difference.in_short(&first.own_name)).collect();
            let mend = self.comparing.repair_plan(&first.name, context);
            rows.push(vec![tenants, "drift".to_owned(), level.to_string(), short.join("; "), mend]);
        }
        rows
    }

    fn row(&self, item: &Item<'_>, context: &Context) -> Vec<String> {
        vec![
            item.tenant().unwrap_or("(database)").to_owned(),
            item.kind(),
            item.level().to_string(),
            item.message(),
            self.mended_by(item, context),
        ]
    }

    pub(super) fn mended_by(&self, item: &Item<'_>, context: &Context) -> String {
        match item {
            Item::Finding(finding) => finding.mend(&|line| context.command(line)),
            Item::Drift(member, _) => self.comparing.repair_plan(&member.name, context),
        }
    }

    pub(super) fn unhealthy(&self) -> usize {
        self.items.iter().filter_map(Item::tenant).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn summary(&self) -> String {
        let checked = count(self.health.checked, "tenant");
        match self.items.len() {
            0 if self.health.unchecked.is_empty() => format!("{checked} checked, all healthy"),
            0 => format!("{checked} checked, nothing amiss in what was checked"),
            findings => format!(
                "{checked} checked, {} healthy, {}",
                thousands(self.health.checked.saturating_sub(self.unhealthy())),
                count(findings, "finding")
            ),
        }
    }
}

/// The tenants that were compared, by what is told of them.
fn groups<'a>(drift: &'a Drift, accepted: &Accepted) -> Vec<Group<'a>> {
    let mut by_differences: HashMap<Vec<&Difference>, Vec<&Member>> = HashMap::new();
    for group in &drift.groups {
        for member in &group.members {
            let told = |difference: &&Difference| !accepted.accepts(member.name.as_str(), &member.own_name, difference);
            let told = group.differences.iter().filter(told).collect();
            by_differences.entry(told).or_default().push(member);
        }
    }
    let mut groups: Vec<Group<'_>> = by_differences
        .into_iter()
        .map(|(differences, mut members)| {
            members.sort_by_key(|member| &member.name);
            Group { members, differences }
        })
        .collect();
    groups.sort_by_key(|group| (Reverse(group.members.len()), group.members.first().map(|member| &member.name)));
    groups
}

impl Item<'_> {
    pub(super) fn tenant(&self) -> Option<&str> {
        match self {
            Self::Finding(finding) => finding.tenant.as_deref(),
            Self::Drift(member, _) => Some(member.name.as_str()),
        }
    }

    pub(super) fn kind(&self) -> String {
        match self {
            Self::Finding(finding) => finding.kind.to_string(),
            Self::Drift(_, difference) => difference.code(),
        }
    }

    pub(super) fn level(&self) -> Level {
        match self {
            Self::Finding(_) => Level::Structural,
            Self::Drift(_, difference) => difference.level,
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Finding(finding) => finding.message.clone(),
            Self::Drift(member, difference) => in_a_line(difference, &member.own_name),
        }
    }
}

/// What differs, in one line of a table. Of what is long the beginnings would be alike; all of it is told by `diff`.
fn in_a_line(difference: &Difference, own_name: &str) -> String {
    const LONGEST: usize = 60;
    let mut message = difference.in_short(own_name);
    if let Aspect::Fact(_) = difference.aspect {
        let words = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let (expected, actual) = (words(difference.expected(own_name)), words(difference.actual(own_name)));
        if [&expected, &actual].iter().all(|text| text.len() <= LONGEST && !text.contains('\n')) {
            message.push_str(&format!(": expected {expected}, is {actual}"));
        }
    }
    if let Some(tenant) = &difference.leads_to {
        message.push_str(&format!("; it leads to the tenant {tenant}"));
    }
    message
}
