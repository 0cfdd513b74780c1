//! The settings that the engine runs on, in either role.

use std::num::NonZeroU32;
use std::time::Duration;

use super::secret::Secret;
use super::tls::Tls;
use super::{HeadLimits, RetryPolicy, TransportConfig, WebTransportConfig};
use crate::error::ConfigError;

/// The checked settings of an [`Endpoint`](crate::Endpoint), made from a server's or a client's. A client does not use
/// the settings about accepting connections and requests.
#[derive(Clone, Debug)]
pub(crate) struct EndpointConfig {
    pub(crate) transport: TransportConfig,
    pub(crate) webtransport: WebTransportConfig,
    pub(crate) head_limits: HeadLimits,
    /// When a connection without requests and sessions gets a PING; `None`: never.
    pub(crate) keep_alive: Option<Duration>,
    /// `None`: no limit.
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) max_request_rate: Option<NonZeroU32>,
    pub(crate) max_request_body: Option<u64>,
    /// Requests that the engine answers itself are events.
    pub(crate) reports_refusals: bool,
    pub(crate) retry: RetryPolicy,
    pub(crate) retry_threshold: usize,
    pub(crate) retry_token_lifetime: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_handshakes: usize,
    /// The secret behind tokens for Retry and stateless resets.
    pub(crate) host_key: Secret,
    pub(super) tls: Tls,
}

impl EndpointConfig {
    /// The settings in the form that quiche takes. Reads the files of certificates and keys each time.
    pub(crate) fn to_quiche(&self) -> Result<quiche::Config, ConfigError> {
        let mut c = match &self.tls {
            Tls::Server(tls) => tls.to_quiche()?,
            Tls::Client(tls) => tls.to_quiche()?,
        };
        self.transport.apply(&self.webtransport, &mut c)?;
        Ok(c)
    }

    /// The settings of HTTP/3 in the form that quiche takes.
    pub(crate) fn to_h3(&self) -> Result<quiche::h3::Config, ConfigError> {
        let mut c = quiche::h3::Config::new().map_err(ConfigError::refused("the HTTP/3 settings"))?;
        c.set_max_field_section_size(self.head_limits.setting());
        c.set_qpack_max_table_capacity(0);
        c.set_qpack_blocked_streams(0);
        if self.webtransport.is_on() {
            c.enable_extended_connect(true);
            c.set_additional_settings(self.webtransport.h3_settings()).map_err(ConfigError::refused("webtransport"))?;
        }
        Ok(c)
    }
}
