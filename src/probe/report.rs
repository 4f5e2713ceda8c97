//! What probes have shown.

use super::kind::ProbeKind;

/// The results of probes.
#[derive(Debug, Clone)]
pub struct ProbeReport {
    /// The probed role.
    pub role: String,
    /// How tenants are separated.
    pub separation: Separation,
    /// Whether `health-check` checks the role: it is the application's, or the tracker has it as that of a tenant.
    pub is_checked_role: bool,
    /// The tenants whose schemas were aimed at; empty if tenants share tables.
    pub aimed_at: Vec<String>,
    /// A result for each probe and object, in the order of the probes.
    pub results: Vec<ProbeResult>,
    /// The probes for which the database has no object, such as a large object.
    pub absent: Vec<ProbeKind>,
}

/// How the tenants of a database are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separation {
    /// They share tables.
    Rows,
    /// Each has a schema and a role.
    Schemas,
}

/// The result of a probe of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeResult {
    /// The probe.
    pub probe: ProbeKind,
    /// The object, such as a table.
    pub object: String,
    /// The statements; empty if there were none. Their parameters are not shown.
    pub statement: String,
    /// The outcome.
    pub outcome: ProbeOutcome,
}

/// The outcome of a probe of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The server refused it, or it reached nothing.
    Held,
    /// It succeeded, with what was observed.
    Breach(String),
    /// It was not tried or was inconclusive, for this reason.
    NotTried(String),
}

impl ProbeReport {
    pub(super) fn new(role: &str, separation: Separation, aimed_at: Vec<String>) -> Self {
        Self {
            role: role.to_owned(),
            separation,
            is_checked_role: separation == Separation::Rows,
            aimed_at,
            results: Vec::new(),
            absent: Vec::new(),
        }
    }

    /// Whether there is a result of this probe.
    pub(super) fn has(&self, probe: ProbeKind) -> bool {
        self.results.iter().any(|result| result.probe == probe)
    }

    /// The findings of `health-check` that can explain a breach.
    pub fn causes(&self, result: &ProbeResult) -> Vec<&'static str> {
        match self.separation {
            Separation::Rows => result.probe.causes().iter().map(|cause| cause.as_str()).collect(),
            Separation::Schemas if !self.is_checked_role => Vec::new(),
            Separation::Schemas => result.probe.role_causes().iter().map(|cause| cause.as_str()).collect(),
        }
    }

    /// What to do about a breach. `command` turns a subcommand into a full command line.
    pub fn fix(&self, result: &ProbeResult, command: &dyn Fn(&str) -> String) -> String {
        let causes = self.causes(result);
        if !causes.is_empty() {
            let (check, causes) = (command("health-check"), causes.join(", "));
            return match self.separation {
                Separation::Rows => {
                    format!("'{check}' names the cause ({causes}), and '{}' prints the fix", command("repair-plan"))
                }
                Separation::Schemas => format!("'{check}' names the cause ({causes}) and the fix"),
            };
        }
        let (role, object) = (&self.role, &result.object);
        match result.probe {
            ProbeKind::RoleSet => format!("revoke the membership in {object} from {role}"),
            ProbeKind::RoleAlter | ProbeKind::RoleCreate | ProbeKind::RoleReplication => {
                format!(
                    "remove the attributes of {role}: ALTER ROLE … NOSUPERUSER NOCREATEROLE NOREPLICATION NOBYPASSRLS"
                )
            }
            ProbeKind::SessionSettings | ProbeKind::RoleReset => {
                format!("reset the setting of {role} and of the database: ALTER ROLE … RESET, ALTER DATABASE … RESET")
            }
            ProbeKind::OwnerAlter => format!("change the owner of {object}: ALTER … OWNER TO"),
            ProbeKind::ReadView => format!("let {object} read as its caller (security_invoker), or change its owner"),
            ProbeKind::FunctionDefiner | ProbeKind::FunctionPath => {
                format!("revoke EXECUTE on {object} from {role} and from PUBLIC, or make it SECURITY INVOKER")
            }
            ProbeKind::DefaultPrivileges => {
                format!("revoke them from {role} and from PUBLIC: ALTER DEFAULT PRIVILEGES … REVOKE")
            }
            _ => format!(
                "revoke the privileges on {object} and its schema from {role}, from PUBLIC and from groups of {role}"
            ),
        }
    }

    /// The breaches.
    pub fn breaches(&self) -> impl Iterator<Item = &ProbeResult> {
        self.results.iter().filter(|result| matches!(result.outcome, ProbeOutcome::Breach(_)))
    }

    /// What was not tried.
    pub fn untried(&self) -> impl Iterator<Item = &ProbeResult> {
        self.results.iter().filter(|result| matches!(result.outcome, ProbeOutcome::NotTried(_)))
    }
}
