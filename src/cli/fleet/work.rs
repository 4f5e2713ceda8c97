//! On which servers a command works, and with which of the tenants that it names.

use std::collections::BTreeMap;

use anyhow::Result;
use uuid::Uuid;

use super::directory::{reconcile, tracked};
use super::place;
use super::route::FoundServers;
use super::servers::{FleetCommand, ServerCommand};
use crate::cli::commands::Command;
use crate::cli::context::Usage;
use crate::error::{Error, ServersError};
use crate::model::ServerState;
use crate::servers::{Directory, FleetServer, placements};
use crate::text;

impl FleetCommand<'_> {
    /// The registry, or the chosen server.
    pub(super) fn one(&mut self, default: Option<FleetServer>) -> Result<Vec<ServerCommand>> {
        let is_chosen = self.found.connection.servers.is_given();
        let server = match (self.chosen.as_slice(), default) {
            (_, Some(default)) if !is_chosen => default,
            ([one], _) => one.clone(),
            _ => return Err(Error::from(ServersError::OneServerOnly { command: self.command.name() }).into()),
        };
        self.split(vec![server], None)
    }

    /// The servers of the tenants that the command names.
    pub(super) fn of_tenants(&mut self, names: &[String]) -> Result<Vec<ServerCommand>> {
        let mut by_server: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
        let mut unknown = self.look_up(names, &mut by_server)?;
        if !unknown.is_empty() && self.found.directory.is_registry() {
            // They may have been made by hand.
            for server in self.chosen.clone() {
                let only: Vec<&str> = unknown.iter().map(String::as_str).collect();
                if let Err(error) = reconcile(&mut self.found, &server, Some(&only), self.context) {
                    self.context.output().warning(format_args!("server {} was not searched: {error}", server.name));
                }
            }
            unknown = self.look_up(&unknown, &mut by_server)?;
        }
        self.prefer_chosen(&mut by_server)?;
        if let Some(other) = by_server.keys().find(|id| !self.chosen.iter().any(|server| server.id == **id)) {
            let name = self.found.directory.by_id(*other).map_or("another server", |server| server.name.as_str());
            let tenant = by_server[other].first().cloned().unwrap_or_default();
            let message = format!("tenant {tenant} is on server {name}");
            return Err(Usage::with_hint(
                "wrong-server",
                message,
                "omit --server and --region: the directory knows the server",
            )
            .into());
        }
        if !unknown.is_empty() {
            // The server decides, and names a similar one.
            let server = match self.chosen.as_slice() {
                [one] => one.clone(),
                _ => self.similar_server(&unknown)?,
            };
            by_server.entry(server.id).or_default().extend(unknown);
        }
        let work = self.by_server(by_server)?;
        if let (Some(new), [one]) = (self.command.new_tenant(), work.as_slice()) {
            let new = placements::claim(self.found.db.connection(), &self.found.directory, &one.server, &[&new])?;
            self.claimed.insert(one.server.id, new);
        }
        Ok(work)
    }

    /// Two servers may have tenants with the same name, of which the directory has one: a server that is chosen by its name has
    /// the tenant that is meant.
    fn prefer_chosen(&mut self, by_server: &mut BTreeMap<Uuid, Vec<String>>) -> Result<(), Error> {
        let ([server], true) = (self.chosen.as_slice(), self.found.connection.servers.is_given()) else {
            return Ok(());
        };
        if by_server.keys().all(|id| *id == server.id) {
            return Ok(());
        }
        let tracked = tracked(&mut self.found, server, self.context)?;
        let mut here = by_server.remove(&server.id).unwrap_or_default();
        for names in by_server.values_mut() {
            here.extend(names.extract_if(.., |name| tracked.contains(name)));
        }
        by_server.retain(|_, names| !names.is_empty());
        if !here.is_empty() {
            by_server.insert(server.id, here);
        }
        Ok(())
    }

    /// Adds the server of each tenant that the directory has. Returns the other names.
    fn look_up(&mut self, names: &[String], by_server: &mut BTreeMap<Uuid, Vec<String>>) -> Result<Vec<String>, Error> {
        let texts: Vec<&str> = names.iter().map(String::as_str).collect();
        let placed = placements::of(self.found.db.connection(), &texts)?;
        let (known, unknown): (Vec<&String>, Vec<&String>) =
            names.iter().partition(|name| placed.iter().any(|placement| placement.tenant == **name));
        for name in known {
            let server = placed.iter().find(|placement| placement.tenant == *name).map(|placement| placement.server);
            by_server.entry(server.unwrap_or_default()).or_default().push(name.clone());
        }
        Ok(unknown.into_iter().cloned().collect())
    }

    /// The server of the tenant with the most similar name, or else the registry.
    fn similar_server(&mut self, unknown: &[String]) -> Result<FleetServer> {
        let all = placements::all(self.found.db.connection(), None)?;
        let similar = unknown.first().and_then(|name| text::closest(name, all.iter().map(|it| it.tenant.as_str())));
        let id = all.iter().find(|placement| Some(placement.tenant.as_str()) == similar).map(|it| it.server);
        let directory = &self.found.directory;
        let server = id.and_then(|id| directory.by_id(id)).or_else(|| directory.registry_server());
        server.cloned().ok_or_else(|| Error::from(no_directory(directory)).into())
    }

    /// The servers on which the tenants that the command names are placed. Reserves the names.
    pub(super) fn placing(&mut self, names: &[String]) -> Result<Vec<ServerCommand>> {
        let by = match &self.command {
            Command::Create(args) => args.placement(),
            _ => place::PlacementRule::LeastTenants,
        };
        let is_chosen = self.found.connection.servers.is_given();
        let candidates = match &self.command {
            // A schema that exists is where it is.
            Command::Adopt(_) if !is_chosen => {
                return Err(Error::from(ServersError::OneServerOnly { command: "adopt" }).into());
            }
            // A server that takes no new tenants may have schemas to adopt.
            Command::Adopt(_) => {
                let open =
                    |server: &FleetServer| FleetServer { state: ServerState::Open, capacity: None, ..server.clone() };
                self.chosen.iter().map(open).collect()
            }
            _ => self.chosen.clone(),
        };
        let assigned = place::assign(&mut self.found, &candidates, names, by, self.context)?;
        for (id, names) in &assigned {
            let Some(server) = self.found.directory.by_id(*id).cloned() else { continue };
            if !self.chosen.iter().any(|chosen| chosen.id == *id) {
                let name = names.first().cloned().unwrap_or_default();
                // It may be written in another case.
                let placed = placements::of(self.found.db.connection(), &[&name])?.into_iter().next();
                let tenant = placed.map_or(name, |placement| placement.tenant);
                return Err(Error::from(ServersError::Placed { tenant, server: server.name.to_string() }).into());
            }
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let new = placements::claim(self.found.db.connection(), &self.found.directory, &server, &names)?;
            self.claimed.insert(server.id, new);
        }
        self.by_server(assigned)
    }

    /// The command for each server, with its tenants only.
    fn by_server(&mut self, by_server: BTreeMap<Uuid, Vec<String>>) -> Result<Vec<ServerCommand>> {
        let mut work = Vec::new();
        // In the order of the directory.
        for server in self.found.directory.servers.clone() {
            let Some(names) = by_server.get(&server.id) else { continue };
            work.extend(self.split(vec![server], Some(names))?);
        }
        Ok(work)
    }

    /// The command on each of the servers; with `names`, for these tenants only.
    pub(super) fn split(&self, servers: Vec<FleetServer>, names: Option<&Vec<String>>) -> Result<Vec<ServerCommand>> {
        let work = servers.into_iter().map(|server| {
            let mut command = self.command.clone();
            if let (Some(names), Some(tenants)) = (names, command.tenants())
                && !tenants.keep(&|name| names.iter().any(|one| one == name))
            {
                let hint = format!("'{}' shows the server of each", self.context.command("where"));
                return Err(Usage::with_hint("different-servers", "the tenants are on different servers", hint).into());
            }
            Ok(ServerCommand { server, command })
        });
        work.collect()
    }
}

/// The servers that --server and --region choose.
pub(super) fn chosen(found: &FoundServers) -> Result<Vec<FleetServer>, Error> {
    let (directory, chosen) = (&found.directory, &found.connection.servers);
    if let Some(region) = &chosen.region {
        return Ok(directory.in_region(region)?.into_iter().cloned().collect());
    }
    if chosen.server.is_empty() {
        return Ok(directory.servers.clone());
    }
    let mut servers: Vec<FleetServer> = Vec::new();
    for name in &chosen.server {
        let server = directory.server(name)?;
        if !servers.iter().any(|other| other.id == server.id) {
            servers.push(server.clone());
        }
    }
    Ok(servers)
}

fn no_directory(directory: &Directory) -> ServersError {
    ServersError::NoDirectory { database: directory.registry.to_string() }
}
