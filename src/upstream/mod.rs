//! Reaching providers: the egress guard and addresses.
//!
//! Where we may connect to, and which address stands behind a name.

mod address;
mod egress;
mod resolve;

pub use address::{Addresses, ResolveError, Status};
pub use egress::{
    Allow, BaseUrl, Cidr, CidrError, EgressError, Guard, Host, Ports, PortsError, Rules, Scheme, URL_BYTES_MAX,
    UrlError,
};
pub use resolve::{Event as ResolveEvent, Resolver};
