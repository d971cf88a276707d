export const seeding = async () => [];
