//! Blocks of addresses, such as `10.0.0.0/8`.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// A block of addresses, such as `10.0.0.0/8`, `fd00::/8` or a single `192.0.2.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CidrError {
    /// The part before `/` is not an address in its canonical form.
    #[error("not an address in its canonical form")]
    Address,
    /// The part after `/` is not a number, or larger than 32 (IPv4) or 128 (IPv6).
    #[error("prefix length must be 0 to 32 for IPv4, 0 to 128 for IPv6")]
    Prefix,
    /// Bits are set behind the prefix, so the writer may have meant another block.
    #[error("bits are set behind the prefix; the first address of the block is wanted")]
    HostBits,
}

impl Cidr {
    /// The first address of the block.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.address
    }

    /// The last address of the block.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let prefix = u32::from(self.prefix);
        match self.address {
            IpAddr::V4(first) => IpAddr::V4((first.to_bits() | u32::MAX.checked_shr(prefix).unwrap_or(0)).into()),
            IpAddr::V6(first) => IpAddr::V6((first.to_bits() | u128::MAX.checked_shr(prefix).unwrap_or(0)).into()),
        }
    }

    /// Tells whether `address` lies in this block. IPv4 and IPv6 never match each other.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        // Addresses compare within their family first, so one of the other family lies before or behind the block.
        self.address.is_ipv4() == address.is_ipv4() && self.first() <= address && address <= self.last()
    }

    /// Makes a block of IPv4-mapped IPv6 addresses (`::ffff:0:0/96` and below) the IPv4 block that it stands for.
    #[must_use]
    pub fn normalised(self) -> Self {
        match (self.address.to_canonical(), self.prefix.checked_sub(96)) {
            (address @ IpAddr::V4(_), Some(prefix)) if self.address.is_ipv6() => Self { address, prefix },
            _ => self,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address_text, prefix_text) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address_text.parse().map_err(|_| CidrError::Address)?;
        if address.to_string() != address_text {
            return Err(CidrError::Address);
        }
        let prefix_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix_text {
            None => prefix_max,
            Some(digits) if digits.len() > 3 || !digits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(CidrError::Prefix);
            }
            Some(digits) => digits.parse().map_err(|_| CidrError::Prefix)?,
        };
        if prefix > prefix_max {
            return Err(CidrError::Prefix);
        }
        let host_bits_clear = match address {
            IpAddr::V4(v4) => v4.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) == 0,
            IpAddr::V6(v6) => v6.to_bits().checked_shl(u32::from(prefix)).unwrap_or(0) == 0,
        };
        if !host_bits_clear {
            return Err(CidrError::HostBits);
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_holds_its_addresses_and_no_others() {
        for (block, address, want) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "9.255.255.255", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe00::", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "8.8.8.8", false),
            ("0.0.0.0/0", "::1", false),
        ] {
            let cidr: Cidr = block.parse().unwrap();
            assert_eq!(cidr.contains(address.parse().unwrap()), want, "{block} {address}");
        }
    }

    #[test]
    fn mapped_block_is_the_ipv4_block() {
        for (text, want) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0.0.0.0/96", "0.0.0.0/0"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::/0", "::/0"),
            ("fd00::/8", "fd00::/8"),
        ] {
            let cidr: Cidr = text.parse().unwrap();
            assert_eq!(cidr.normalised().to_string(), want, "{text}");
        }
    }
}
