// @generated automatically by tenantry.

diesel::table! {
    orders (id) {
        id -> Int8,
        customer -> Text,
        cents -> Int8,
        placed_at -> Timestamptz,
    }
}
