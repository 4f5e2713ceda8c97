//! What is reported: the findings and differences that are not ignored.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use crate::cli::codes::{FailOn, WARNING};
use crate::cli::compare::CompareOptions;
use crate::cli::context::Context;
use crate::cli::output::{count, thousands};
use crate::health::{Finding, Health};
use crate::schema::drift::{Accepted, Aspect, Difference, Drift, Member};

/// The findings and differences that are not ignored, and what fails the check.
pub(super) struct CheckReport<'a> {
    pub(super) health: &'a Health,
    /// First those of the database, then those of each tenant by name: findings before differences.
    pub(super) items: Vec<Item<'a>>,
    /// The tenants that were compared, the largest group first.
    pub(super) groups: Vec<ReportedGroup<'a>>,
    comparing: &'a CompareOptions,
    fail_on: &'a [FailOn],
    on_unchecked: OnUnchecked,
}

/// What unchecked tenants do to the check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnUnchecked {
    Fail,
    Allow,
}

/// Which findings and differences a table contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// Those that fail the check.
    Failing,
}

/// A finding or a difference.
pub(super) enum Item<'a> {
    Finding(&'a Finding),
    Drift(&'a Member, &'a Difference),
}

/// Tenants with the same reported differences: what is ignored for one may not be for another.
pub(super) struct ReportedGroup<'a> {
    /// Sorted by name.
    pub(super) members: Vec<&'a Member>,
    pub(super) differences: Vec<&'a Difference>,
}

impl<'a> CheckReport<'a> {
    pub(super) fn new(
        health: &'a Health,
        accepted: &Accepted,
        comparing: &'a CompareOptions,
        fail_on: &'a [FailOn],
        on_unchecked: OnUnchecked,
    ) -> Self {
        let groups = groups(&health.drift, accepted);
        let reported: Vec<&Finding> = health
            .findings
            .iter()
            .filter(|it| !accepted.accepts_finding(it.tenant.as_deref(), it.kind.as_str(), &it.items))
            .collect();
        let of_database = reported.iter().copied().filter(|finding| finding.tenant.is_none()).map(Item::Finding);
        let mut of_tenants: Vec<(&str, Item<'a>)> = reported
            .iter()
            .copied()
            .filter_map(|finding| Some((finding.tenant.as_deref()?, Item::Finding(finding))))
            .collect();
        for ReportedGroup { members, differences } in &groups {
            for member in members {
                of_tenants.extend(
                    differences.iter().map(|difference| (member.name.as_str(), Item::Drift(member, difference))),
                );
            }
        }
        of_tenants.sort_by_key(|(tenant, _)| *tenant);
        let items = of_database.chain(of_tenants.into_iter().map(|(_, item)| item)).collect();
        Self { health, items, groups, comparing, fail_on, on_unchecked }
    }

    /// Whether the exit code is 0.
    pub(super) fn passes(&self) -> bool {
        !self.has_failing_items() && (!self.fails_on_unchecked() || self.health.unchecked.is_empty())
    }

    /// Whether the exit code would be 0 if it were allowed that tenants are unchecked.
    pub(super) fn fails_only_for_unchecked(&self) -> bool {
        !self.has_failing_items() && !self.passes()
    }

    fn has_failing_items(&self) -> bool {
        self.items.iter().any(|item| self.fails(item))
    }

    /// Whether nothing fails the check and nothing is unchecked.
    pub(super) fn is_healthy(&self) -> bool {
        self.passes() && self.health.unchecked.is_empty()
    }

    /// Whether unchecked tenants fail the check.
    pub(super) fn fails_on_unchecked(&self) -> bool {
        self.on_unchecked == OnUnchecked::Fail
    }

    pub(super) fn fails(&self, item: &Item<'_>) -> bool {
        if self.fail_on.is_empty() {
            return match item {
                Item::Finding(finding) => !finding.kind.is_warning(),
                Item::Drift(_, difference) => difference.level.fails_by_default(),
            };
        }
        self.fail_on.iter().any(|chosen| match item {
            Item::Finding(finding) => chosen.is_finding(finding),
            Item::Drift(member, difference) => chosen.is_difference(&member.name, &member.own_name, difference),
        })
    }

    /// A row for each item.
    pub(super) fn rows(&self, context: &Context, shown: Shown) -> Vec<Vec<String>> {
        self.items.iter().filter(|item| self.shows(shown, item)).map(|item| self.row(item, context)).collect()
    }

    fn shows(&self, shown: Shown, item: &Item<'_>) -> bool {
        shown == Shown::All || self.fails(item)
    }

    /// A row for each finding, and one for each group of tenants with the same drift.
    pub(super) fn grouped(&self, context: &Context, shown: Shown) -> Vec<Vec<String>> {
        let findings = self.items.iter().filter(|item| matches!(item, Item::Finding(_)) && self.shows(shown, item));
        let mut rows: Vec<Vec<String>> = findings.map(|item| self.row(item, context)).collect();
        for ReportedGroup { members, differences } in &self.groups {
            let [first, others @ ..] = members.as_slice() else { continue };
            let tenants = match others {
                [] => first.name.to_string(),
                _ => format!("{} such as {}", thousands(members.len()), first.name),
            };
            let differences: Vec<&Difference> = differences
                .iter()
                .copied()
                .filter(|difference| self.shows(shown, &Item::Drift(first, difference)))
                .collect();
            let Some(level) = differences.iter().map(|difference| difference.level).min() else {
                if shown == Shown::Failing {
                    continue;
                }
                rows.push(vec![
                    tenants,
                    String::new(),
                    String::new(),
                    "matches the reference".to_owned(),
                    String::new(),
                ]);
                continue;
            };
            let short: Vec<String> = differences.iter().map(|difference| difference.summary(&first.own_name)).collect();
            let fix = self.comparing.repair_plan(&first.name, context);
            rows.push(vec![tenants, codes_of(&differences).join(", "), level.to_string(), short.join("; "), fix]);
        }
        rows
    }

    fn row(&self, item: &Item<'_>, context: &Context) -> Vec<String> {
        vec![
            item.tenant().unwrap_or("(database)").to_owned(),
            item.code(),
            item.level().to_owned(),
            item.message(),
            self.fix(item, context),
        ]
    }

    pub(super) fn fix(&self, item: &Item<'_>, context: &Context) -> String {
        match item {
            Item::Finding(finding) => finding.fix(&|line| context.command(line)),
            Item::Drift(member, _) => self.comparing.repair_plan(&member.name, context),
        }
    }

    pub(super) fn tenants_with_findings(&self) -> usize {
        self.items.iter().filter_map(Item::tenant).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn summary(&self) -> String {
        if let Some(tables) = self.health.shared_tables {
            let outcome = match self.items.len() {
                0 if self.health.unchecked.is_empty() => "all isolated".to_owned(),
                0 => "no findings".to_owned(),
                findings => count(findings, "finding"),
            };
            return format!("{} checked, {outcome}", count(tables, "shared table"));
        }
        let (checked, unchecked) = (self.health.checked(), self.health.unchecked_tenants());
        let mut summary = format!("{} checked", count(checked, "tenant"));
        if unchecked > 0 {
            summary.push_str(&format!(", {} unchecked", thousands(unchecked)));
        }
        if self.items.is_empty() {
            summary.push_str(if self.health.unchecked.is_empty() { ", all healthy" } else { ", no findings" });
            return summary;
        }
        let with_items: BTreeSet<&str> = self.items.iter().filter_map(Item::tenant).collect();
        let members = self.groups.iter().flat_map(|group| &group.members);
        let healthy = members.filter(|member| !with_items.contains(member.name.as_str())).count();
        summary.push_str(&format!(", {} healthy, {}", thousands(healthy), count(self.items.len(), "finding")));
        summary
    }
}

/// The tenants that were compared, by their reported differences.
fn groups<'a>(drift: &'a Drift, accepted: &Accepted) -> Vec<ReportedGroup<'a>> {
    let mut by_differences: HashMap<Vec<&Difference>, Vec<&Member>> = HashMap::new();
    for group in &drift.groups {
        for member in &group.members {
            let reported =
                |difference: &&Difference| !accepted.accepts(member.name.as_str(), &member.own_name, difference);
            let differences = group.differences.iter().filter(reported).collect();
            by_differences.entry(differences).or_default().push(member);
        }
    }
    let mut groups: Vec<ReportedGroup<'_>> = by_differences
        .into_iter()
        .map(|(differences, mut members)| {
            members.sort_by_key(|member| &member.name);
            ReportedGroup { members, differences }
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

    /// The code, as --fail-on and --ignore take it.
    pub(super) fn code(&self) -> String {
        match self {
            Self::Finding(finding) => finding.kind.to_string(),
            Self::Drift(_, difference) => difference.code(),
        }
    }

    pub(super) fn level(&self) -> &'static str {
        match self {
            Self::Finding(finding) if finding.kind.is_warning() => WARNING,
            Self::Finding(finding) => finding.kind.level().as_str(),
            Self::Drift(_, difference) => difference.level.as_str(),
        }
    }

    pub(super) fn message(&self) -> String {
        match self {
            Self::Finding(finding) => finding.message.clone(),
            Self::Drift(member, difference) => in_a_line(difference, &member.own_name),
        }
    }
}

/// The codes of differences, each once, in order.
pub(super) fn codes_of(differences: &[&Difference]) -> Vec<String> {
    let codes: BTreeSet<String> = differences.iter().map(|difference| difference.code()).collect();
    codes.into_iter().collect()
}

/// A difference in one line of a table. Long values are left out; `diff` shows them.
fn in_a_line(difference: &Difference, own_name: &str) -> String {
    const LONGEST: usize = 60;
    let mut message = difference.summary(own_name);
    if let Aspect::Fact(_) = difference.aspect {
        let words = |text: Option<String>| text.unwrap_or_else(|| "nothing".to_owned());
        let (expected, actual) = (words(difference.expected(own_name)), words(difference.actual(own_name)));
        if [&expected, &actual].iter().all(|text| text.len() <= LONGEST && !text.contains('\n')) {
            message.push_str(&format!(": expected {expected}, found {actual}"));
        }
    }
    if let Some(tenant) = &difference.references_tenant {
        message.push_str(&format!("; refers to tenant {tenant}"));
    }
    message
}
