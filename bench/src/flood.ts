export const flooding = async () => [];
