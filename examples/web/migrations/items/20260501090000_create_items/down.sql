DROP TABLE items, tenants;
