//! The settings for reading the catalogs.

/// Sets everything that the server's deparsing and output functions depend on, until the end of the transaction. Two
/// sessions then read equal structures as equal text, whatever the settings of their roles and databases.
///
/// - quoting: `quote_all_identifiers` for every name, `standard_conforming_strings` for every string constant,
/// - constants in defaults, checks, partition bounds and queries: `DateStyle`, `IntervalStyle` and `TimeZone` for dates and
///   times, `extra_float_digits` for floating-point numbers, `bytea_output`, and `lc_monetary` for `money`,
/// - what a constant or a statement of this crate is parsed with: `array_nulls`, `backslash_quote`, `xmlbinary`,
///   `xmloption` and `transform_null_equals`; `escape_string_warning` would only add warnings.
///
/// `client_encoding` is UTF-8 on every connection. `search_path` is set by
/// [`CATALOG_FOR_TRANSACTION`](crate::postgres::path::CATALOG_FOR_TRANSACTION).
pub(crate) const PINNED: &str = "SET LOCAL quote_all_identifiers TO off; SET LOCAL standard_conforming_strings TO on; \
                                 SET LOCAL DateStyle TO 'ISO, MDY'; SET LOCAL IntervalStyle TO postgres; \
                                 SET LOCAL TimeZone TO 'UTC'; SET LOCAL extra_float_digits TO 1; \
                                 SET LOCAL bytea_output TO hex; SET LOCAL lc_monetary TO 'C'; \
                                 SET LOCAL array_nulls TO on; SET LOCAL backslash_quote TO safe_encoding; \
                                 SET LOCAL xmlbinary TO base64; SET LOCAL xmloption TO content; \
                                 SET LOCAL transform_null_equals TO off; SET LOCAL escape_string_warning TO off;";
