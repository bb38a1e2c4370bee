//! The macro that makes a struct of instruments and its table of one list: what is documented is what is rendered.
//!
//! *Which core*: any.

use super::instrument::{Reading, Type};

/// A row: one series, or one for each set of labels.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name; with labels that never change after it, in braces.
    pub name: &'static str,
    /// Its type.
    pub kind: Type,
    /// What it counts.
    pub help: &'static str,
}

impl Metric {
    /// The name without labels.
    pub fn family(&self) -> &'static str {
        self.name.split('{').next().unwrap_or(self.name)
    }

    /// The labels that never change, without braces.
    pub fn labels(&self) -> &'static str {
        self.name.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'))
    }
}

/// A struct of instruments.
pub trait MetricSet {
    /// Every instrument, in the order of the struct.
    const TABLE: &'static [Metric];
    /// The present value of each, in the order of the table.
    fn read(&self) -> Vec<Reading>;
}

/// Makes a struct of instruments, and of other fields after `also`; `Default` and [`MetricSet`] for it.
macro_rules! metric_set {
    (
        $(#[$meta:meta])*
        pub struct $Struct:ident {
            $( $(#[doc = $doc:literal])+ $field:ident: $type:ty = $name:literal; )+
        }
        $( also { $( $(#[doc = $also_doc:literal])+ $also:ident: $also_type:ty; )+ } )?
    ) => {
        $(#[$meta])*
        #[derive(Default)]
        pub struct $Struct {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            $( $( $(#[doc = $also_doc])+ pub $also: $also_type, )+ )?
        }

        impl $crate::metrics::table::MetricSet for $Struct {
            const TABLE: &'static [$crate::metrics::table::Metric] = &[
                $( $crate::metrics::table::Metric {
                    name: $name,
                    kind: <$type as $crate::metrics::instrument::Instrument>::TYPE,
                    help: concat!($($doc),+),
                }, )+
            ];

            fn read(&self) -> Vec<$crate::metrics::instrument::Reading> {
                vec![ $( $crate::metrics::instrument::Instrument::read(&self.$field), )+ ]
            }
        }
    };
}

pub(super) use metric_set;
