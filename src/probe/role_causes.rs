//! The findings about the roles of tenants that explain a breach.

use super::kind::ProbeKind;
use crate::roles::RoleFindingKind;

impl ProbeKind {
    /// The findings of `health-check` that can explain a breach where each tenant has a role.
    pub fn role_causes(self) -> &'static [RoleFindingKind] {
        use RoleFindingKind as R;
        match self {
            Self::SessionSettings | Self::RoleReset => &[R::Settings],
            Self::SettingReplication | Self::SettingSuperuser => &[R::Attribute, R::Membership],
            Self::RoleAlter | Self::RoleCreate | Self::RoleReplication => &[R::Attribute],
            Self::ReadRows
            | Self::ReadCopy
            | Self::ReadMaterializedView
            | Self::ReadForeignTable
            | Self::CountRows
            | Self::WriteInsert
            | Self::WriteUpdate
            | Self::WriteDelete
            | Self::WriteCopy
            | Self::ReferencePrivilege
            | Self::TableTruncate
            | Self::TableTrigger
            | Self::TableMaintain
            | Self::SequenceRead
            | Self::SequenceSet
            | Self::FunctionCall
            | Self::DefaultPrivileges => &[R::ForeignGrant, R::PublicGrant, R::Membership],
            Self::ReadView => &[R::View, R::ForeignGrant, R::PublicGrant],
            Self::FunctionDefiner | Self::FunctionPath => &[R::Definer],
            Self::RoleSet => &[R::Membership],
            Self::OwnerAlter => &[R::ForeignGrant, R::Membership],
            Self::CreateObject => &[R::PublicCreate, R::ForeignGrant, R::PublicGrant],
            Self::ServerFiles => &[R::Membership],
            _ => &[],
        }
    }
}
