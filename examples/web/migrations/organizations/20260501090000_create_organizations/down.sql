DROP TABLE stacks, users, organizations;
