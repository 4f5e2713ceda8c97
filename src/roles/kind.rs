//! The kinds of findings about the roles of tenants.

macro_rules! role_kinds {
    ($($kind:ident = $code:literal, $meaning:literal;)*) => {
        /// The kind of a finding about the roles of tenants. The codes are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RoleFindingKind {
            $(#[doc = $meaning] $kind,)*
        }

        impl RoleFindingKind {
            /// Every kind, in the order in which findings are listed.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Its code on the command line and in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$kind => $meaning,)* }
            }
        }
    };
}

role_kinds! {
    Missing = "tenant-role.missing", "A tenant has no role although others have one, or its role does not exist.";
    Unmarked = "tenant-role.unmarked", "The role of a tenant is not marked as its role, so that it may have another purpose.";
    Attribute = "tenant-role.attribute", "The role of a tenant has an attribute such as SUPERUSER, or cannot log in.";
    Membership = "tenant-role.membership", "The role of a tenant is a member of another role than the group, or the group is a member.";
    Settings = "tenant-role.settings", "A setting or a limit of the role of a tenant was changed.";
    Grants = "tenant-role.grants", "The privileges of a tenant's role in its own schema are not the expected ones.";
    ForeignGrant = "tenant-role.foreign-grant", "The role of a tenant has privileges in the schema of another, or owns an object there.";
    PublicGrant = "tenant-role.public-grant", "PUBLIC or the group of the tenants' roles has privileges in the schema of a tenant.";
    PublicCreate = "tenant-role.public-create", "Tenants may create objects in the schema public, where others may execute them.";
    Definer = "tenant-role.definer", "A tenant may call a SECURITY DEFINER function of a role that has access to other tenants.";
    View = "tenant-role.view", "A view in the schema of a tenant reads tables of another, with the privileges of its owner.";
    Orphaned = "tenant-role.orphaned", "A role is marked as that of a tenant of this database that does not have it.";
}
