//! Set-up of `tracing`: for people, and as JSON.

mod json;

use std::env;
use std::fmt;
use std::io::{self, IsTerminal, Write};

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Dispatch;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::error::Error;
use json::JsonFormat;

/// Keeps telemetry going: hold it until the end of `main`. When it is dropped, what is still on its way
/// is flushed.
#[must_use = "telemetry is flushed when this is dropped, so keep it until the end of `main`"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Chooses what a line of the log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Format {
    /// One short line for each event, for people; in colour on a terminal.
    #[default]
    Compact,
    /// One JSON object for each line, for machines: `timestamp`, `level`, `service`, `target`, `message`, `trace_id` and
    /// `span_id` within a trace, `fields`, and `spans` from the outermost inwards.
    Json,
}

impl Telemetry {
    /// Starts the set-up. Without further words: compact lines on standard error, level `info` unless `RUST_LOG`
    /// says otherwise.
    pub fn builder() -> TelemetryBuilder {
        TelemetryBuilder {
            service: None,
            format: Format::default(),
            filter: None,
            default_filter: "info".to_owned(),
            ansi: None,
            writer: None,
            provider: None,
        }
    }

    /// Sends out what has been recorded and not yet sent.
    ///
    /// Call it from outside the async runtime (or within `spawn_blocking`): an exporter may block.
    pub fn flush(&self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.force_flush()
        {
            tracing::warn!(%error, "spans were not flushed");
        }
        // Standard error has no buffer of its own; whoever redirected it may have, and a failure has
        // nowhere to be told.
        let _ = io::stderr().flush();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("records_spans", &self.provider.is_some())
            .finish_non_exhaustive()
    }
}

/// Collects what telemetry needs to know.
#[must_use = "a builder does nothing until `install`"]
pub struct TelemetryBuilder {
    service: Option<String>,
    format: Format,
    filter: Option<String>,
    default_filter: String,
    ansi: Option<bool>,
    writer: Option<BoxMakeWriter>,
    provider: Option<SdkTracerProvider>,
}

impl TelemetryBuilder {
    /// Names the service in JSON lines and as the source of spans. Otherwise it is `OTEL_SERVICE_NAME`, or the name
    /// of the program.
    pub fn with_service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// Chooses the format of lines.
    pub const fn with_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets the filter, whatever `RUST_LOG` says.
    ///
    /// A filter is a list of directives such as `info,coditect_bus=debug`.
    pub fn with_filter(mut self, directives: impl Into<String>) -> Self {
        self.filter = Some(directives.into());
        self
    }

    /// Sets the filter for when `RUST_LOG` is unset or empty; `info` unless told otherwise.
    pub fn with_default_filter(mut self, directives: impl Into<String>) -> Self {
        self.default_filter = directives.into();
        self
    }

    /// Switches colour on or off. Otherwise there is colour when lines go to a terminal and `NO_COLOR` is
    /// unset or empty.
    pub const fn with_ansi(mut self, ansi: bool) -> Self {
        self.ansi = Some(ansi);
        self
    }

    /// Writes lines elsewhere than to standard error; without colour unless [`with_ansi`](Self::with_ansi) asks
    /// for it.
    pub fn with_writer(
        mut self,
        writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
    ) -> Self {
        self.writer = Some(BoxMakeWriter::new(writer));
        self
    }

    /// Records spans with an OpenTelemetry provider, which brings its exporter along.
    ///
    /// Without one no span is recorded, and trace contexts just pass through.
    pub fn with_tracer_provider(mut self, provider: SdkTracerProvider) -> Self {
        self.provider = Some(provider);
        self
    }

    /// Makes this the subscriber of the whole process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyInstalled`](crate::ErrorKind::AlreadyInstalled) if the process has one; it
    /// stays as it is. [`ErrorKind::InvalidFilter`](crate::ErrorKind::InvalidFilter) if `RUST_LOG` or the filter cannot be parsed.
    pub fn install(self) -> Result<Telemetry, Error> {
        let (dispatch, telemetry) = self.build()?;
        tracing::dispatcher::set_global_default(dispatch).map_err(Error::already_installed)?;
        Ok(telemetry)
    }

    /// Makes a subscriber without installing it, for a test or for one part of a program.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidFilter`](crate::ErrorKind::InvalidFilter) if `RUST_LOG` or the filter cannot be parsed.
    pub fn build(self) -> Result<(Dispatch, Telemetry), Error> {
        let filter = self.parse_filter()?;
        let service = self.service.unwrap_or_else(default_service);
        let tracer = self
            .provider
            .as_ref()
            .map(|provider| provider.tracer(service.clone()));
        let ansi = self
            .ansi
            .unwrap_or_else(|| self.writer.is_none() && stderr_takes_colour());
        let lines = tracing_subscriber::fmt::layer().with_writer(
            self.writer
                .unwrap_or_else(|| BoxMakeWriter::new(io::stderr)),
        );
        let lines = match self.format {
            Format::Compact => lines.compact().with_ansi(ansi).boxed(),
            Format::Json => lines
                .with_ansi(false)
                .event_format(JsonFormat::new(service))
                .fmt_fields(JsonFields::new())
                .boxed(),
        };
        let subscriber = Registry::default()
            .with(lines)
            .with(tracer.map(|tracer| tracing_opentelemetry::layer().with_tracer(tracer)))
            .with(filter);
        let telemetry = Telemetry {
            provider: self.provider,
        };
        Ok((Dispatch::new(subscriber), telemetry))
    }

    fn parse_filter(&self) -> Result<EnvFilter, Error> {
        let directives = match &self.filter {
            Some(directives) => directives.clone(),
            None => from_environment()?.unwrap_or_else(|| self.default_filter.clone()),
        };
        EnvFilter::try_new(&directives).map_err(|error| Error::invalid_filter(directives, error))
    }
}

impl fmt::Debug for TelemetryBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryBuilder")
            .field("service", &self.service)
            .field("format", &self.format)
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

fn from_environment() -> Result<Option<String>, Error> {
    match env::var(EnvFilter::DEFAULT_ENV) {
        Ok(directives) if directives.trim().is_empty() => Ok(None),
        Ok(directives) => Ok(Some(directives)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Error::invalid_filter(EnvFilter::DEFAULT_ENV, error)),
    }
}

fn default_service() -> String {
    let set = |name: &String| !name.is_empty();
    let program = || Some(env::current_exe().ok()?.file_stem()?.to_str()?.to_owned());
    env::var("OTEL_SERVICE_NAME")
        .ok()
        .filter(set)
        .or_else(program)
        .unwrap_or_else(|| "unknown_service".to_owned())
}

fn stderr_takes_colour() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests;
