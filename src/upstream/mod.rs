//! Reaching providers: egress guard, addresses, pools.
//!
//! Where we may connect to, which address stands behind a name, and which idle connections lead there.

mod address;
mod egress;
mod origin;
mod pool;
mod resolve;

pub use address::{Addresses, ResolveError, Status};
pub use egress::{
    Allow, BaseUrl, BoundOrigin, BoundOriginError, EgressError, Guard, Host, Ports, PortsError, Rules, Scheme,
    URL_BYTES_MAX, UrlError,
};
pub use origin::{Origin, Origins};
pub use pool::{Connection, OriginId, PoolLimits, Pools};
pub use resolve::{Event as ResolveEvent, Resolver, TtlBounds};
