//! Plans moves that even a fleet out.

use std::collections::BTreeMap;

use diesel::pg::PgConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use uuid::Uuid;

use crate::error::Error;
use crate::servers::FleetServer;

/// A tenant on a server, with its weight: its bytes, or 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedTenant {
    /// The tenant.
    pub tenant: String,
    /// The server.
    pub server: Uuid,
    /// What is to be evened out.
    pub weight: i64,
}

/// A move that evens the fleet out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProposedMove {
    /// The tenant.
    pub tenant: String,
    /// The server that it is on.
    pub from: Uuid,
    /// The server that it should be moved to.
    pub to: Uuid,
    /// The weight of the tenant.
    pub weight: i64,
}

/// The sizes of the tenants of a server in bytes, by name, as the last `VACUUM` or `ANALYZE` has measured them.
///
/// # Errors
/// The server's error.
pub fn tenant_sizes(conn: &mut PgConnection) -> Result<BTreeMap<String, i64>, Error> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Text)]
        name: String,
        #[diesel(sql_type = BigInt)]
        bytes: i64,
    }
    let rows: Vec<Row> = sql_query(
        "SELECT t.name, COALESCE(pg_catalog.sum(c.relpages)::bigint, 0) * pg_catalog.current_setting('block_size')::bigint AS bytes \
         FROM public.schema_tracker AS t JOIN pg_catalog.pg_namespace AS n ON n.nspname = t.name::name \
         LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'i', 'm', 't') \
         WHERE t.name IS NOT NULL GROUP BY t.name",
    )
    .load(conn)
    .map_err(Error::doing("measure the tenants"))?;
    Ok(rows.into_iter().map(|row| (row.name, row.bytes)).collect())
}

/// The load of a server.
struct Load<'a> {
    server: &'a FleetServer,
    tenants: Vec<(String, i64)>,
    weight: i64,
}

impl Load<'_> {
    /// Whether it may take another tenant.
    fn has_room(&self) -> bool {
        let number = i64::try_from(self.tenants.len()).unwrap_or(i64::MAX);
        self.server.is_open() && self.server.capacity.is_none_or(|capacity| number < capacity)
    }

    fn is_over(&self) -> bool {
        let number = i64::try_from(self.tenants.len()).unwrap_or(i64::MAX);
        self.server.capacity.is_some_and(|capacity| number > capacity)
    }
}

/// Plans at most `limit` moves. Servers that are not open are emptied, and those over their capacity are relieved; then tenants
/// move from the server with the largest load to that with the smallest one, as long as that makes the difference smaller.
pub fn even_out(servers: &[FleetServer], placed: &[PlacedTenant], limit: usize) -> Vec<ProposedMove> {
    let mut loads: Vec<Load<'_>> = servers
        .iter()
        .filter(|server| server.host.is_none())
        .map(|server| {
            let mut tenants: Vec<(String, i64)> = placed
                .iter()
                .filter(|tenant| tenant.server == server.id)
                .map(|tenant| (tenant.tenant.clone(), tenant.weight))
                .collect();
            tenants.sort();
            let weight = tenants.iter().map(|(_, weight)| weight).sum();
            Load { server, tenants, weight }
        })
        .collect();
    let mut moves = Vec::new();
    while moves.len() < limit {
        let Some((from, index, to)) = next(&loads) else { break };
        let (tenant, weight) = loads[from].tenants.remove(index);
        loads[from].weight -= weight;
        loads[to].weight += weight;
        moves.push(ProposedMove {
            tenant: tenant.clone(),
            from: loads[from].server.id,
            to: loads[to].server.id,
            weight,
        });
        loads[to].tenants.push((tenant, weight));
    }
    moves
}

/// The next move: the places of the server, of its tenant, and of the other server.
fn next(loads: &[Load<'_>]) -> Option<(usize, usize, usize)> {
    let lightest = |except: usize| {
        let open = loads.iter().enumerate().filter(|(place, load)| *place != except && load.has_room());
        open.min_by_key(|(_, load)| load.weight).map(|(place, _)| place)
    };
    let must_give = |load: &Load<'_>| !load.tenants.is_empty() && (!load.server.is_open() || load.is_over());
    if let Some(from) = loads.iter().position(must_give)
        && let Some(to) = lightest(from)
    {
        return Some((from, 0, to));
    }
    let mut heaviest: Vec<usize> = (0..loads.len()).filter(|place| loads[*place].server.is_open()).collect();
    heaviest.sort_by_key(|place| std::cmp::Reverse(loads[*place].weight));
    for from in heaviest {
        let Some(to) = lightest(from) else { continue };
        let difference = loads[from].weight - loads[to].weight;
        // The closest to half of the difference. A tenant with all of it would only change places.
        let fitting =
            loads[from].tenants.iter().enumerate().filter(|(_, (_, weight))| *weight > 0 && *weight < difference);
        let best = fitting.min_by_key(|(_, (_, weight))| (difference - 2 * weight).abs());
        if let Some((index, (_, weight))) = best
            && (difference - 2 * weight).abs() < difference
        {
            return Some((from, index, to));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServerState;

    fn server(number: u128, state: ServerState, capacity: Option<i64>) -> FleetServer {
        let name = format!("s{number}").parse().unwrap();
        FleetServer { state, capacity, ..FleetServer::new(Uuid::from_u128(number), name) }
    }

    fn tenants(server: u128, weights: &[i64]) -> Vec<PlacedTenant> {
        let tenant = |(number, weight): (usize, &i64)| PlacedTenant {
            tenant: format!("t{server}_{number}"),
            server: Uuid::from_u128(server),
            weight: *weight,
        };
        weights.iter().enumerate().map(tenant).collect()
    }

    /// The loads afterwards.
    fn after(servers: &[FleetServer], placed: &[PlacedTenant], limit: usize) -> (usize, Vec<i64>) {
        let moves = even_out(servers, placed, limit);
        let load = |server: &FleetServer| {
            let mut load: i64 = placed.iter().filter(|it| it.server == server.id).map(|it| it.weight).sum();
            load += moves.iter().filter(|it| it.to == server.id).map(|it| it.weight).sum::<i64>();
            load - moves.iter().filter(|it| it.from == server.id).map(|it| it.weight).sum::<i64>()
        };
        (moves.len(), servers.iter().map(load).collect())
    }

    #[test]
    fn loads_are_evened_out_with_few_moves() {
        let open = [1, 2, 3].map(|number| server(number, ServerState::Open, None));
        assert_eq!(after(&open, &tenants(1, &[1; 9]), 100), (6, vec![3, 3, 3]));
        assert_eq!(after(&open, &tenants(1, &[1; 9]), 2).0, 2);
        assert_eq!(after(&open, &tenants(1, &[1; 2]), 100), (1, vec![1, 1, 0]));
        // One large tenant does not move back and forth.
        assert_eq!(after(&open[..2], &tenants(1, &[100]), 100), (0, vec![100, 0]));
        assert_eq!(after(&open[..2], &tenants(1, &[100, 10, 40, 50]), 100), (1, vec![100, 100]));
    }

    #[test]
    fn states_and_capacities_are_respected() {
        let servers = [
            server(1, ServerState::Draining, None),
            server(2, ServerState::Open, Some(2)),
            server(3, ServerState::Open, None),
        ];
        assert_eq!(after(&servers, &tenants(1, &[1; 5]), 100), (5, vec![0, 2, 3]));
        let full = [server(1, ServerState::Open, Some(1)), server(2, ServerState::Open, Some(1))];
        assert_eq!(after(&full, &tenants(1, &[1; 5]), 100), (1, vec![4, 1]));
    }
}
